const mime = require("mime-types");

console.log(mime.lookup(process.argv[2] || "page.html"));
