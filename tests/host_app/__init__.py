"""The function app that the tests of the local Functions host run; a package, so that its module has its own name."""
