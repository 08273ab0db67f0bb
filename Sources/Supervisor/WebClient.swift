import ControlAPI
import Links
import Manifest
import Platform

/// The supervisor's side of the web role.
struct WebClient {
    /// The link; nil while no web role runs.
    var link: DispatchLink<WebRequest, WebNotice>?
    /// Its process.
    var pid: Int32?
    /// Whom it runs as; nil: as supd.
    var credentials: RoleCredentials?
    /// It has said hello.
    var isReady = false
    /// Where the page is served; nil: nowhere.
    var front: Front?
    /// What the manifest says of it.
    var settings: WebSettings?
    /// By which it may change something.
    var token: WebToken?

    /// The listening sockets, by the keeper's names.
    var heldSockets: [String: Descriptor] {
        Dictionary(
            (front?.sockets ?? []).map { (SupervisorRole.Held.webPrefix + $0.id, $0.descriptor) },
            uniquingKeysWith: { first, _ in first })
    }

    /// What the role must know.
    var serving: WebServing? {
        guard let front, let settings else { return nil }
        let address =
            switch settings.listen {
            case .loopback: "127.0.0.1"
            case .ipv4(let address, _), .ipv6(let address, _): address
            case .unix: ""
            }
        return WebServing(
            listeners: front.sockets.map(\.id), address: address, hosts: settings.hosts, allowsActions: token != nil)
    }
}

/// Reading the file that `web.actions` names.
enum WebTokenFile {
    /// Why there is no token.
    struct Failure: Error {
        var text: String
    }

    /// Reads it. One that others may read is no secret any more.
    static func read(_ path: String) throws(Failure) -> WebToken {
        do throws(SystemError) {
            let status = try Files.status(path)
            guard status.mode & 0o077 == 0 else {
                throw SystemError(call: "stat", code: ErrorCode.accessDenied, subject: path)
            }
            let text = try Files.read(path, limit: 4096)
            if let token = WebToken(fileText: text) { return token }
        } catch {
            let open = ((try? Files.status(path))?.mode ?? 0) & 0o077 != 0
            throw Failure(
                text: open
                    ? "\(path) may be read by others: chmod 600 it, and put another token into it"
                    : "cannot read \(path): \(error.reason)")
        }
        throw Failure(
            text:
                "\(path) has no token: one line of \(WebToken.length.lowerBound) to \(WebToken.length.upperBound) letters "
                + "and digits, as by: openssl rand -hex 24")
    }
}
