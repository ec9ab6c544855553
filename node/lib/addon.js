'use strict'

require('./dispose')

// The compiled addon, which `scripts/build.js` puts there.
module.exports = require('../minikv.node')
