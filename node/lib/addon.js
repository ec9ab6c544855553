'use strict'

// The compiled addon, which `scripts/build.js` puts there.
module.exports = require('../minikv.node')
