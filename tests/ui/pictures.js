// Compares pictures of the page with those in expected/: as the eye does from afar, so that other fonts and other times make no difference.
const fs = require("node:fs");
const path = require("node:path");
const { PNG } = require("pngjs");

const CELL = 20;
/** How much two cells may differ, of 255, and how many cells may differ more. */
const SAME = 36, SHARE = 0.04;

const expectedFile = (name) => path.join(__dirname, "expected", `${name}.png`);

/** The picture in cells of CELL × CELL pixels, each with its mean colour. */
function seenFromAfar(png, pixelRatio) {
  const cell = CELL * pixelRatio, width = Math.floor(png.width / cell), height = Math.floor(png.height / cell);
  const small = new PNG({ width, height });
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const sums = [0, 0, 0];
      for (let dy = 0; dy < cell; dy++) {
        for (let dx = 0; dx < cell; dx++) {
          const at = ((y * cell + dy) * png.width + x * cell + dx) * 4;
          for (let c = 0; c < 3; c++) sums[c] += png.data[at + c];
        }
      }
      const at = (y * width + x) * 4;
      sums.forEach((sum, c) => { small.data[at + c] = Math.round(sum / cell / cell); });
      small.data[at + 3] = 255;
    }
  }
  return small;
}

/** What is wrong with a picture, or null. With SIDEVAULT_PICTURES=update it becomes the expected one. */
function differs(name, bytes, pixelRatio) {
  const small = seenFromAfar(PNG.sync.read(bytes), pixelRatio);
  if (process.env.SIDEVAULT_PICTURES === "update") {
    fs.mkdirSync(path.dirname(expectedFile(name)), { recursive: true });
    fs.writeFileSync(expectedFile(name), PNG.sync.write(small, { deflateLevel: 9, colorType: 2 }));
    return null;
  }
  const expected = PNG.sync.read(fs.readFileSync(expectedFile(name)));
  if (small.width !== expected.width || small.height !== expected.height) return `${name}: ${small.width}×${small.height} cells, expected ${expected.width}×${expected.height}`;
  const other = [];
  for (let n = 0; n < small.width * small.height; n++) {
    const most = Math.max(...[0, 1, 2].map((c) => Math.abs(small.data[n * 4 + c] - expected.data[n * 4 + c])));
    if (most > SAME) other.push([n % small.width, Math.floor(n / small.width)]);
  }
  const share = other.length / (small.width * small.height);
  if (share <= SHARE) return null;
  const rows = [...new Set(other.map(([, y]) => y))];
  return `${name}: ${Math.round(share * 100)} % of the picture look different, in the rows ${Math.min(...rows) * CELL} to ${(Math.max(...rows) + 1) * CELL} px. If that is wanted: SIDEVAULT_PICTURES=update tests/ui/run.sh`;
}

module.exports = { differs };
