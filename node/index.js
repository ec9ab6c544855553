'use strict'

const { Registry } = require('./lib/registry')
const { MinikvError } = require('./lib/errors')
const { Entry } = require('./lib/entry')
const { Held } = require('./lib/held')
const { Watch } = require('./lib/watch')
const { Float, float, KEEP, DELETE } = require('./lib/values')

module.exports = { Registry, MinikvError, Entry, Held, Watch, Float, float, KEEP, DELETE }
