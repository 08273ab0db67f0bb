import Platform
import FoundationEssentials

/// Turns messages into packets and back. A message whose JSON is larger than `inlineLimit` travels as a memfd.
package enum LinkCodec {
    /// The largest JSON text sent inside a packet, in bytes; well under the 212,992 of a default send buffer.
    package static let inlineLimit = 150_000
    /// The largest message at all, in bytes.
    package static let messageLimit = 64 << 20
}
