#!/bin/sh
# js-ipfs speaks the RPC of an older Kubo. These changes give its answers today's form, where the form is
# all that differs; what it computes and stores is its own.
set -eu
resources=node_modules/ipfs-http-server/src/api/resources

# Links in the answers of dag/import.
sed -i '0,/  if (!obj) {/s//  if (!obj || obj["\/"] != null || obj.asCID != null) {/' $resources/dag.js
# block/put names the codec in `cid-codec`, and a name has version 1 unless it says otherwise.
sed -i "s/format: Joi.string().default('dag-pb'),/format: Joi.string().default('raw'),/; s/version: Joi.number().default(0),/version: Joi.number().default(1),/
0,/\.rename('cid-base', 'cidBase', {/s//.rename('cid-codec', 'format', { override: true, ignoreUndefined: true })\n        &/" $resources/block.js
