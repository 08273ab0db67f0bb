import CPlatform
import Glibc

/// One end of a pair of connected AF_UNIX SOCK_SEQPACKET sockets: whole packets with descriptors beside them. Never
/// waits: poll `descriptor` for readiness.
package final class PacketSocket: Sendable {
    /// The most descriptors beside one packet (SCM_MAX_FD).
    package static let descriptorLimit = Int(SUPD_MAX_DESCRIPTORS)

    /// The socket, to be polled.
    package let descriptor: Descriptor

    /// Takes over a connected socket.
    package init(_ descriptor: Descriptor) { self.descriptor = descriptor }

    /// Creates a connected pair, nonblocking and close-on-exec, by socketpair(2).
    package static func pair() throws(SystemError) -> (PacketSocket, PacketSocket) {
        var ends: (Int32, Int32) = (-1, -1)
        let type = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        try systemCall("socketpair", "of a link") {
            withUnsafeMutableBytes(of: &ends) { bytes in
                socketpair(AF_UNIX, type, 0, bytes.bindMemory(to: Int32.self).baseAddress)
            }
        }
        let pair = (PacketSocket(Descriptor(owning: ends.0)), PacketSocket(Descriptor(owning: ends.1)))
        // A packet must fit whole into the send buffer, whatever net.core.wmem_default says here.
        for socket in [pair.0, pair.1] {
            var size: Int32 = 212_992
            _ = setsockopt(socket.descriptor.raw, SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        return pair
    }

    /// What became of a packet.
    package enum SendResult: Sendable, Hashable {
        /// It is in the peer's queue.
        case sent
        /// The peer's queue is full: try again when the socket is writable.
        case wouldBlock
        /// The peer has closed its end.
        case closed
    }

    /// Sends one packet, at least one byte, by sendmsg(2). Throws EMSGSIZE for a packet beyond the send buffer, EINVAL
    /// for more than `descriptorLimit` descriptors.
    package func send(_ bytes: [UInt8], descriptors: [Descriptor] = []) throws(SystemError) -> SendResult {
        do throws(SystemError) {
            try withExtendedLifetime(descriptors) { () throws(SystemError) in
                let numbers = descriptors.map(\.raw)
                try systemCall("sendmsg", "to a link") {
                    supd_packet_send(descriptor.raw, bytes, bytes.count, numbers, numbers.count)
                }
            }
            return .sent
        } catch {
            switch error.code {
            case EAGAIN, ENOBUFS: return .wouldBlock
            case EPIPE, ECONNRESET, ENOTCONN: return .closed
            default: throw error
            }
        }
    }

    /// What was received.
    package enum ReceiveResult: Sendable {
        /// One whole packet.
        case packet([UInt8], [Descriptor])
        /// Nothing now: try again when the socket is readable.
        case wouldBlock
        /// The peer has closed its end, or has sent an empty packet, which nobody does.
        case closed
    }

    /// Why a packet was refused. The link is of no use any more.
    package enum ReceiveError: Error, Sendable, Hashable, CustomStringConvertible {
        /// It had this many bytes, more than the limit.
        case tooLong(Int)
        /// Some of its descriptors were lost: too many, or this process has none left.
        case descriptorsLost
        /// recvmsg(2) failed.
        case system(SystemError)

        package var description: String {
            switch self {
            case .tooLong(let count): "packet of \(count) bytes is too long"
            case .descriptorsLost: "packet lost descriptors: too many beside it, or too many open here"
            case .system(let error): error.description
            }
        }
    }

    /// Receives one packet of at most `limit` bytes, by recvmsg(2); descriptors are close-on-exec. The descriptors of a
    /// refused packet are closed.
    package func receive(limit: Int) throws(ReceiveError) -> ReceiveResult {
        do {
            // Ask for the length first, so that a short packet needs no long buffer.
            let length = try systemCall("recv", "from a link") {
                recv(descriptor.raw, nil, 0, Int32(MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT))
            }
            if length == 0 { return .closed }
            guard length <= limit else { throw ReceiveError.tooLong(length) }
            return try receive(exactly: length)
        } catch let error as SystemError {
            switch error.code {
            case EAGAIN: return .wouldBlock
            case ECONNRESET: return .closed
            default: throw .system(error)
            }
        } catch let error as ReceiveError {
            throw error
        } catch {
            return .closed
        }
    }

    private func receive(exactly length: Int) throws -> ReceiveResult {
        var received: [Descriptor] = []
        var isTruncated = false
        var isIncomplete = false
        let bytes = try [UInt8](unsafeUninitializedCapacity: length) { buffer, count in
            try withUnsafeTemporaryAllocation(of: supd_packet_extras.self, capacity: 1) { extras in
                guard let base = extras.baseAddress else { return }
                count = try systemCall("recvmsg", "from a link") {
                    supd_packet_receive(descriptor.raw, buffer.baseAddress, length, base)
                }
                withUnsafeBytes(of: &base.pointee.descriptors) { numbers in
                    received = numbers.bindMemory(to: Int32.self).prefix(base.pointee.count).map(
                        Descriptor.init(owning:))
                }
                isTruncated = base.pointee.truncated != 0
                isIncomplete = base.pointee.control_truncated != 0
            }
        }
        if isTruncated { throw ReceiveError.tooLong(bytes.count) }
        if isIncomplete { throw ReceiveError.descriptorsLost }
        return bytes.isEmpty ? .closed : .packet(bytes, received)
    }
}
