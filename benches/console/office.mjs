// An office of seals with everything real but the seal: keys made by `ingest seal key`, a witness, ingest. All of it listens
// on loopback, and is stopped by process id.
import { spawn, spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { CheckFailed, must, until } from './browser.mjs';

const PATIENCE_S = 60;

export class Office {
  /** `program` is ingest, `folder` is empty. People come to `http://localhost:PORT` and have passkeys. */
  constructor(program, folder, port) {
    Object.assign(this, { program, folder, port, running: [], said: '' });
  }

  in(name) { return path.join(this.folder, name); }

  run(...args) {
    const { status, stdout, stderr } = spawnSync(this.program, args, { encoding: 'utf8' });
    must(status === 0, `ingest ${args.slice(0, 2).join(' ')} ended with ${status}: ${stderr}`);
    return stdout;
  }

  /** Makes a key: `{public, verifier}`. */
  key(name) {
    const [first, second] = this.run('seal', 'key', this.in(`${name}.key`), '--name', name).split('\n');
    return { public: first.split(' ').at(-1), verifier: second.trim().split(/\s+/).at(-1) };
  }

  // Starts a server, and answers what the pattern finds in what it says.
  async start(pattern, ...args) {
    const child = spawn(this.program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, NO_COLOR: '1' } });
    let said = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => { said += bytes; this.said += bytes; });
    this.running.push(child);
    return until(`ingest ${args[0]} to say ${pattern}`, () => {
      if (child.exitCode !== null) throw new CheckFailed(`it ended with ${child.exitCode}: ${said}`);
      return said.match(pattern);
    }, PATIENCE_S);
  }

  async begin() {
    this.log = this.key('seals.example-log').verifier;
    this.issuer = this.key('issuer').public;
    const roots = ['root-1', 'root-2'].map((name) => this.key(name).public);
    this.witness = this.run('witness', '--new-key', this.in('witness.key'), '--name', 'notary.example/w1').trim();
    const [, witness] = await this.start(/witness is serving.*?http=([\d.:]+)/, 'witness', '--listen', '127.0.0.1:0', '--data', this.in('witness'), '--key', this.in('witness.key'), '--log', this.log);
    await writeFile(this.in('ingest.toml'), `
data = "city"
[mqtt]
listen = "127.0.0.1:0"
[http]
listen = "127.0.0.1:${this.port}"
origin = "http://localhost:${this.port}"
[seals]
log_key = "seals.example-log.key"
issuer_key = "issuer.key"
roots = ${JSON.stringify(roots)}
roots_needed = 2
[[seals.witness]]
url = "http://${witness}"
key = "${this.witness}"
`);
    [this.firstLink, this.base] = await this.start(/(http:\/\/localhost:\d+)\/first#[\w-]+/, 'serve', '--config', this.in('ingest.toml'));
  }

  async end() {
    for (const child of this.running.reverse()) {
      if (child.exitCode !== null) continue;
      const ended = new Promise((resolve) => { child.once('exit', resolve); });
      child.kill('SIGINT');
      await ended;
    }
  }
}
