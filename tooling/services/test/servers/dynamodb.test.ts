import {
  CreateTableCommand,
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  ResourceInUseException,
} from '@aws-sdk/client-dynamodb'
import { serverSuite } from './server-suite.ts'

serverSuite({
  name: 'dynamodb',
  product: /^DynamoDB Local /,
  async connect(url) {
    const client = new DynamoDBClient({
      endpoint: url,
      region: 'local',
      credentials: { accessKeyId: 'local', secretAccessKey: 'local' },
    })
    const table = { TableName: 'entries' }
    await client
      .send(
        new CreateTableCommand({
          ...table,
          BillingMode: 'PAY_PER_REQUEST',
          KeySchema: [{ AttributeName: 'key', KeyType: 'HASH' }],
          AttributeDefinitions: [{ AttributeName: 'key', AttributeType: 'S' }],
        }),
      )
      .catch((error) => {
        if (!(error instanceof ResourceInUseException)) throw error
      })
    return {
      async write(key, value) {
        const Item = { key: { S: key }, value: { S: value } }
        await client.send(new PutItemCommand({ ...table, Item }))
      },
      async read(key) {
        const Key = { key: { S: key } }
        const { Item } = await client.send(new GetItemCommand({ ...table, Key }))
        return Item?.value?.S ?? null
      },
      close: async () => client.destroy(),
    }
  },
})
