import minikv = require('./index.js')

export * from './index.js'
export default minikv
