import minikv from './index.js'

export const { Registry, MinikvError, Entry, Held, Watch, Float, float, KEEP, DELETE } = minikv
export default minikv
