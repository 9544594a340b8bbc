// What a program of a user's does with dockerode: attach, exec, logs and events, as streams. Prints one JSON document.
'use strict';
const Docker = require('dockerode');
const { PassThrough } = require('stream');

const docker = new Docker({ socketPath: process.argv[2] });
const label = { Labels: { by: 'dockerode' }, HostConfig: { NetworkMode: 'none' }, StopSignal: 'SIGKILL' };

// Everything that a stream says, to its end.
function whole(stream) {
  return new Promise((resolve, reject) => {
    const parts = [];
    stream.on('data', (part) => parts.push(part));
    stream.on('end', () => resolve(Buffer.concat(parts).toString()));
    stream.on('error', reject);
  });
}

// A framed stream taken apart: what went to stdout, and what to stderr.
async function apart(stream) {
  const out = new PassThrough(), err = new PassThrough();
  const said = Promise.all([whole(out), whole(err)]);
  docker.modem.demuxStream(stream, out, err);
  stream.on('end', () => { out.end(); err.end(); });
  return said;
}

async function attach() {
  const container = await docker.createContainer({
    ...label, Image: 'busybox', Cmd: ['sh', '-c', 'cat; echo err >&2'], OpenStdin: true, StdinOnce: true,
    AttachStdin: true, AttachStdout: true, AttachStderr: true,
  });
  const stream = await container.attach({ stream: true, hijack: true, stdin: true, stdout: true, stderr: true });
  const said = apart(stream);
  await container.start();
  stream.write('into it\n');
  stream.end();
  const [out, err] = await said;
  const { StatusCode } = await container.wait();
  await container.remove();
  return { out, err, code: StatusCode };
}

async function within() {
  const container = await docker.createContainer({ ...label, Image: 'busybox', Cmd: ['sleep', '600'] });
  await container.start();
  const exec = await container.exec({
    Cmd: ['sh', '-c', 'read a; echo "$a of $USERNAME"; echo err >&2; exit 7'], Env: ['USERNAME=alice'],
    AttachStdin: true, AttachStdout: true, AttachStderr: true,
  });
  const stream = await exec.start({ hijack: true, stdin: true });
  const said = apart(stream);
  stream.write('line\n');
  const [out, err] = await said;
  const { ExitCode, Running } = await exec.inspect();
  await container.remove({ force: true });
  return { out, err, code: ExitCode, running: Running };
}

async function logs() {
  const container = await docker.createContainer({
    ...label, Image: 'busybox', Cmd: ['sh', '-c', 'echo one; echo two >&2; sleep 0.3; echo three'],
  });
  await container.start();
  const followed = await apart(await container.logs({ follow: true, stdout: true, stderr: true }));
  const last = await container.logs({ stdout: true, tail: 1 });
  await container.remove();
  return { followed, last: last.subarray(8).toString() };
}

async function events() {
  const stream = await docker.getEvents({ filters: { label: ['by=dockerode'], type: ['container'] } });
  const seen = [];
  const over = new Promise((resolve) => {
    let rest = '';
    stream.on('data', (part) => {
      const lines = (rest + part).split('\n');
      rest = lines.pop();
      seen.push(...lines.filter(Boolean).map((line) => JSON.parse(line).Action));
      if (seen.includes('destroy')) resolve();
    });
  });
  await docker.run('busybox', ['true'], new PassThrough(), { ...label }).then(([, container]) => container.remove());
  await over;
  stream.destroy();
  return seen;
}

async function main() {
  const answer = { attach: await attach(), exec: await within(), logs: await logs(), events: await events() };
  answer.left = (await docker.listContainers({ all: true })).length;
  process.stdout.write(JSON.stringify(answer));
}

main().catch((error) => { console.error(error); process.exit(1); });
