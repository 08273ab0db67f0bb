import Manifest
import Platform

/// One entry of a service's `listen`, opened: its listening sockets, which the keeper holds beyond this process.
struct Front {
    /// Why a front could not be opened.
    struct Failure: Error {
        var endpoint: ListenEndpoint
        var error: SystemError

        /// The errno value.
        var code: Int32 { error.code }
        /// A complete sentence. It says who has the address, for which all processes are looked at.
        var text: String { cause + advice(endpoint, error) }
        /// The same without who has the address, and what to do.
        var cause: String { "cannot listen on \(endpoint): \(error.reason)" }
    }

    /// A listening socket.
    struct Socket {
        /// Its id at the balancer, which tells the address: `tcp 127.0.0.1:8080`.
        var id: String
        /// The socket.
        var descriptor: Descriptor
        /// The keeper does not hold it yet.
        var isNew: Bool
    }

    /// The address for people.
    var address: String
    /// One socket, or two for a loopback front.
    var sockets: [Socket]
    /// What the manifest says of it.
    var settings: ListenSettings

    /// Opens the sockets of an address, or takes those that the keeper holds.
    static func open(
        _ settings: ListenSettings, held: [String: Descriptor], namePrefix: String
    ) throws(Failure) -> Front {
        func open(_ endpoint: ListenEndpoint) throws(Failure) -> Socket {
            try socket(endpoint, backlog: Int32(clamping: settings.backlog), held, namePrefix)
        }
        var sockets: [Socket]
        switch settings.address {
        case .loopback(let port):
            sockets = [try open(.ipv4("127.0.0.1", port: port))]
            do throws(Failure) {
                sockets.append(try open(.ipv6("::1", port: port)))
            } catch {
                // A machine without IPv6 has no ::1; a port taken there alone is as bad as one taken on 127.0.0.1.
                if error.code == ErrorCode.addressInUse { throw error }
            }
        case .ipv4(let text, let port): sockets = [try open(.ipv4(text, port: port))]
        case .ipv6(let text, let port): sockets = [try open(.ipv6(text, port: port))]
        case .unix(let path): sockets = [try open(.unix(path))]
        }
        // A service that accepts by itself expects a socket on which that waits, sd_listen_fds(3).
        // One that is there keeps its mode: the balancer may be accepting on it.
        for socket in sockets where socket.isNew { try? setBlocking(socket.descriptor, settings.passes) }
        return Front(address: settings.address.description, sockets: sockets, settings: settings)
    }

    private static func socket(
        _ endpoint: ListenEndpoint, backlog: Int32, _ held: [String: Descriptor], _ prefix: String
    ) throws(Failure) -> Socket {
        let id = endpoint.description
        if let descriptor = held[prefix + id] { return Socket(id: id, descriptor: descriptor, isNew: false) }
        do throws(SystemError) {
            return Socket(id: id, descriptor: try listen(on: endpoint, backlog: backlog), isNew: true)
        } catch {
            throw Failure(endpoint: endpoint, error: error)
        }
    }

    private static func advice(_ endpoint: ListenEndpoint, _ error: SystemError) -> String {
        switch error.code {
        case ErrorCode.addressInUse where endpoint.isOccupied:
            "; a file is there that is no socket: remove it, or let the service listen elsewhere"
        case ErrorCode.notFound where endpoint.port == nil:
            "; its directory does not exist: create it, or let the service listen elsewhere"
        case ErrorCode.addressInUse:
            (endpoint.port.flatMap(PortCheck.holder).map { "; it is taken by \($0)" }
                ?? "; another program listens there") + ": end it, or let the service listen elsewhere"
        case ErrorCode.accessDenied where endpoint.port != nil:
            "; ports below \(LoopbackPort.unprivilegedStart()) need root or CAP_NET_BIND_SERVICE: "
                + "run supd as root, or let the service listen on a higher one"
        case ErrorCode.addressNotAvailable: "; no interface of this machine has that address"
        default: ""
        }
    }
}

extension ListenEndpoint {
    /// Whether something that is no socket is at the path of a Unix socket.
    fileprivate var isOccupied: Bool {
        guard case .unix(let path) = self, let status = try? Files.status(path) else { return false }
        return status.kind != .other
    }

    /// The port; nil for a Unix socket.
    fileprivate var port: UInt16? {
        switch self {
        case .ipv4(_, let port), .ipv6(_, let port): port
        case .unix: nil
        }
    }
}
