import { checkTableName } from './options.ts'

/**
 * The table as a CloudFormation template in YAML, for those who may not make tables at run time.
 *
 * @throws `TypeError` for what is no name of a table.
 */
export function cloudFormationTemplate(tableName: string = 'sayiir'): string {
  return `AWSTemplateFormatVersion: "2010-09-09"
Resources:
  SayiirTable:
    Type: AWS::DynamoDB::Table
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties:
      TableName: ${checkTableName(tableName)}
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions:
        - { AttributeName: p, AttributeType: S }
        - { AttributeName: s, AttributeType: S }
        - { AttributeName: wp, AttributeType: S }
        - { AttributeName: ws, AttributeType: N }
      KeySchema:
        - { AttributeName: p, KeyType: HASH }
        - { AttributeName: s, KeyType: RANGE }
      GlobalSecondaryIndexes:
        - IndexName: work
          KeySchema:
            - { AttributeName: wp, KeyType: HASH }
            - { AttributeName: ws, KeyType: RANGE }
          Projection: { ProjectionType: INCLUDE, NonKeyAttributes: [o] }
      TimeToLiveSpecification: { AttributeName: ttl, Enabled: true }
`
}

/**
 * The table as a Terraform resource.
 *
 * @throws `TypeError` for what is no name of a table.
 */
export function terraformResource(tableName: string = 'sayiir'): string {
  return `resource "aws_dynamodb_table" "sayiir" {
  name         = "${checkTableName(tableName)}"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "p"
  range_key    = "s"

  attribute {
    name = "p"
    type = "S"
  }
  attribute {
    name = "s"
    type = "S"
  }
  attribute {
    name = "wp"
    type = "S"
  }
  attribute {
    name = "ws"
    type = "N"
  }

  global_secondary_index {
    name               = "work"
    hash_key           = "wp"
    range_key          = "ws"
    projection_type    = "INCLUDE"
    non_key_attributes = ["o"]
  }

  ttl {
    attribute_name = "ttl"
    enabled        = true
  }
}
`
}
