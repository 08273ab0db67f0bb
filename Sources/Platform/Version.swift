/// The version of everything built from this package; `scripts/package-deb` reads it from `supd --version`.
package let version = "0.1.0"
