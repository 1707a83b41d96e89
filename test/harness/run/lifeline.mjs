// Loaded first into each process that a command of the project starts: it ends when the command has gone, however that went.
const NAME = 'TIDB_MESH_LIFELINE';

if (process.env[NAME] !== undefined) {
  // What this process starts in its turn has channels of its own for other things.
  delete process.env[NAME];
  process.on('disconnect', () => process.kill(process.pid, 'SIGTERM'));
  // Listening alone must not keep the process alive.
  process.channel.unref();
}
