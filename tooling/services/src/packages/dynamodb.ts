import { readdir, rm, writeFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { cached } from '../cache.ts'
import { run } from '../command.ts'
import { freePort } from '../free-port.ts'
import { identify } from '../identify.ts'
import type { ProcessServer, StartContext } from '../running-server.ts'
import { needCommands } from '../system-packages.ts'
import { memoryFolder } from '../temporary-folder.ts'

const dynamoVersion = '2.6.1'

/** DynamoDB Local from Maven Central; its licence lets it be used, not passed on. */
export async function dynamoPackage({ folder, say }: StartContext): Promise<ProcessServer> {
  await needCommands({ java: 'default-jre-headless' }, say)
  const installed = await installDynamo(say)
  // On disk a write takes twice as long; without files nothing would outlive a restart.
  const inMemory = await memoryFolder()
  const data = inMemory ?? folder
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  return {
    url,
    source: `com.amazonaws:DynamoDBLocal:${dynamoVersion}`,
    version: dynamoVersion,
    processes: [
      {
        command: 'java',
        args: [...dynamoArgs(installed), '-port', String(port), '-dbPath', data],
        env: { DDB_LOCAL_TELEMETRY: '0' },
        stopSignal: 'SIGTERM',
        log: join(folder, 'dynamodb.log'),
        ready: async () => void (await identify('dynamodb', url)),
      },
    ],
    cleanUp: async () => {
      if (inMemory !== null) await rm(inMemory, { recursive: true, force: true })
    },
  }
}

/** The jars and the class that starts them, in the cache. */
export function installDynamo(say: (text: string) => void): Promise<string> {
  return cached(`dynamodb-local-${dynamoVersion}`, async (target) => {
    await needCommands({ mvn: 'maven', javac: 'default-jdk-headless' }, say)
    say(`installing DynamoDB Local ${dynamoVersion} from Maven Central into the cache (51 MB)`)
    await writeFile(join(target, 'pom.xml'), pom)
    await writeFile(join(target, 'Loopback.java'), loopback)
    const lib = join(target, 'lib')
    const copy = ['dependency:copy-dependencies', `-DoutputDirectory=${lib}`]
    const repository = `-Dmaven.repo.local=${join(target, 'repository')}`
    await run('mvn', ['-q', '-B', repository, ...copy], { cwd: target, tries: 3 })
    await run('javac', ['-cp', join(lib, '*'), '-d', target, 'Loopback.java'], { cwd: target })
    await rm(join(target, 'repository'), { recursive: true })
    if ((await readdir(lib)).length === 0) throw new Error('Maven copied nothing')
  })
}

/** Java's arguments up to those of the server. */
function dynamoArgs(installed: string): string[] {
  const lib = join(installed, 'lib')
  const jars = [installed, join(lib, '*')].join(delimiter)
  return ['-Xmx512m', `-Dsqlite4java.library.path=${lib}`, '-cp', jars, 'Loopback']
}

const pom = `<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>dev.sayiir</groupId>
  <artifactId>services</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>com.amazonaws</groupId>
      <artifactId>DynamoDBLocal</artifactId>
      <version>${dynamoVersion}</version>
    </dependency>
  </dependencies>
</project>
`

/** DynamoDB Local listens on every address and has no option for that. */
const loopback = `import com.amazonaws.services.dynamodbv2.local.main.ServerRunner;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;

class Loopback {
  public static void main(String[] args) throws Exception {
    var runner = ServerRunner.createServerFromCommandLineArgs(args);
    var field = runner.getClass().getDeclaredField("server");
    field.setAccessible(true);
    for (var connector : ((Server) field.get(runner)).getConnectors()) {
      ((ServerConnector) connector).setHost(System.getProperty("host", "127.0.0.1"));
    }
    runner.safeStart();
    runner.join();
  }
}
`
