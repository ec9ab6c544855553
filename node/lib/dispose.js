'use strict'

// The symbols of `using`, for versions of Node that do not have them yet; TypeScript's output looks for them here.
for (const name of ['dispose', 'asyncDispose']) {
  if (!(name in Symbol)) {
    Object.defineProperty(Symbol, name, { value: Symbol(`Symbol.${name}`) })
  }
}
