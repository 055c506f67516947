// What a client that shares no code with ours finds in a dataset repo: path, size and sha256 of every file.
// Arguments: folder with node_modules, endpoint, repo, revision. The token is HF_TOKEN.
const { createHash } = require("node:crypto");
const { createRequire } = require("node:module");
const [modules, hubUrl, name, revision] = process.argv.slice(2);
const { listFiles, downloadFile } = createRequire(modules + "/")("@huggingface/hub");

async function main() {
  const repo = { type: "dataset", name };
  const where = { repo, revision, hubUrl, accessToken: process.env.HF_TOKEN };
  const found = {};
  for await (const file of listFiles({ ...where, recursive: true })) {
    if (file.type !== "file" || file.path.startsWith(".")) continue;
    const blob = await downloadFile({ ...where, path: file.path });
    const bytes = Buffer.from(await blob.arrayBuffer());
    found[file.path] = { listed: file.size, size: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  }
  process.stdout.write(JSON.stringify(found));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
