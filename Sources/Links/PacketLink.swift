import FoundationEssentials
package import Platform

/// Why a message could not be sent or understood.
package enum LinkError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Its JSON has this many bytes, more than `LinkCodec.messageLimit`.
    case tooLarge(Int)
    /// It is not what the protocol says; the text names what is wrong.
    case malformed(String)
    /// A system call failed.
    case system(SystemError)

    package var description: String {
        switch self {
        case .tooLarge(let count): "message of \(count) bytes is larger than \(LinkCodec.messageLimit)"
        case .malformed(let reason): "malformed message: \(reason)"
        case .system(let error): error.description
        }
    }
}

/// A message ready to be sent, and sent again if the link was full.
package struct EncodedMessage: Sendable {
    /// The packet.
    package var packet: [UInt8]
    /// The JSON, if it is too long for a packet; goes last among the packet's descriptors.
    package var file: MemoryFile?
}

/// Turns messages into packets and back. A packet is the message's binary form, if it has one, or its JSON; or, if that
/// is larger than `inlineLimit`, `@` and the JSON's length in decimal digits, and the JSON itself is in a memfd, the last
/// descriptor beside the packet.
package enum LinkCodec {
    /// The largest JSON text sent inside a packet, in bytes; well under the 212,992 of a default send buffer.
    package static let inlineLimit = 150_000
    /// The largest message at all, in bytes.
    package static let messageLimit = 64 << 20
    /// The longest message in bytes of a sender that has nothing long to say.
    package static let briefLimit = 1024

    fileprivate static let marker = UInt8(ascii: "@")

    /// Encodes a message.
    package static func encode(_ message: some LinkMessage) throws(LinkError) -> EncodedMessage {
        if let packet = message.compactForm, packet.count <= inlineLimit { return EncodedMessage(packet: packet) }
        let json: [UInt8]
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = .withoutEscapingSlashes
            json = [UInt8](try encoder.encode(message))
        } catch {
            throw .malformed("cannot be written as JSON: \(error)")
        }
        if json.count <= inlineLimit { return EncodedMessage(packet: json) }
        guard json.count <= messageLimit else { throw .tooLarge(json.count) }
        do throws(SystemError) {
            let file = try MemoryFile(name: "supd-message")
            try file.write(json, at: 0)
            return EncodedMessage(packet: [marker] + Array(String(json.count).utf8), file: file)
        } catch {
            throw .system(error)
        }
    }

    /// Decodes a packet; answers the descriptors that belong to the message itself beside it.
    package static func decode<Message: LinkMessage>(
        _ type: Message.Type, packet: [UInt8], descriptors: [Descriptor]
    ) throws(LinkError) -> (message: Message, descriptors: [Descriptor]) {
        if packet.first == compactMarker {
            guard let message = Message(compactForm: packet) else {
                throw .malformed("its binary form is none of ours")
            }
            return (message, descriptors)
        }
        var json = packet
        var descriptors = descriptors
        if packet.first == marker {
            guard let announced = Int(String(decoding: packet.dropFirst(), as: UTF8.self)), announced >= 0 else {
                throw .malformed("its length is not a number")
            }
            guard announced <= messageLimit else { throw .tooLarge(announced) }
            guard let last = descriptors.popLast() else { throw .malformed("the descriptor of its file is missing") }
            // Whatever is wrong with it is wrong with what was sent: no fault of this process.
            do throws(SystemError) {
                json = try MemoryFile(received: last).read(limit: announced)
            } catch {
                throw .malformed("its file cannot be read: \(error)")
            }
            guard json.count == announced else {
                throw .malformed("its file has \(json.count) bytes, not \(announced)")
            }
        }
        do {
            return (try JSONDecoder().decode(type, from: Data(json)), descriptors)
        } catch {
            throw .malformed("\(error)")
        }
    }
}

/// One end of a link between two roles: messages with descriptors, never waiting. Poll `descriptor` for readiness.
package struct LinkConnection: Sendable {
    private let socket: PacketSocket

    /// The socket, to be polled.
    package var descriptor: Descriptor { socket.descriptor }

    /// Takes over a connected SOCK_SEQPACKET socket.
    package init(_ descriptor: Descriptor) { socket = PacketSocket(descriptor) }

    /// Creates both ends of a link.
    package static func pair() throws(SystemError) -> (LinkConnection, LinkConnection) {
        let (left, right) = try PacketSocket.pair()
        return (LinkConnection(left.descriptor), LinkConnection(right.descriptor))
    }

    /// Sends a message. To try again after `wouldBlock` without encoding anew, use `LinkCodec.encode` and `send(encoded:)`.
    package func send(
        _ message: some LinkMessage, descriptors: [Descriptor] = []
    ) throws(LinkError) -> PacketSocket.SendResult {
        try send(encoded: LinkCodec.encode(message), descriptors: descriptors)
    }

    /// Sends an encoded message with descriptors beside it: at most `PacketSocket.descriptorLimit` less one.
    package func send(
        encoded message: EncodedMessage, descriptors: [Descriptor] = []
    ) throws(LinkError) -> PacketSocket.SendResult {
        do throws(SystemError) {
            return try socket.send(
                message.packet, descriptors: descriptors + [message.file?.descriptor].compactMap(\.self))
        } catch {
            throw .system(error)
        }
    }

    /// What came.
    package enum Receipt<Message: Sendable>: Sendable {
        /// A message and the descriptors beside it, which the receiver now owns.
        case message(Message, [Descriptor])
        /// Nothing now.
        case wouldBlock
        /// The other end is closed.
        case closed
        /// Something that is no message: the link is of no use any more.
        case malformed(LinkError)
    }

    /// Receives one message of a type. `isBrief`: it is malformed if it is longer than `LinkCodec.briefLimit`.
    package func receive<Message: LinkMessage>(_ type: Message.Type, isBrief: Bool = false) -> Receipt<Message> {
        do throws(PacketSocket.ReceiveError) {
            switch try socket.receive(limit: isBrief ? LinkCodec.briefLimit : LinkCodec.inlineLimit) {
            case .packet(let packet, _) where isBrief && packet.first == LinkCodec.marker:
                return .malformed(.malformed("it comes as a file, which is too long here"))
            case .wouldBlock: return .wouldBlock
            case .closed: return .closed
            case .packet(let bytes, let descriptors):
                do throws(LinkError) {
                    let (message, rest) = try LinkCodec.decode(type, packet: bytes, descriptors: descriptors)
                    return .message(message, rest)
                } catch {
                    return .malformed(error)
                }
            }
        } catch {
            switch error {
            case .system(let error): return .malformed(.system(error))
            case .tooLong, .descriptorsLost: return .malformed(.malformed(error.description))
            }
        }
    }
}
