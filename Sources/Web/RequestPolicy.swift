import ControlAPI
import Links

/// Which requests are answered at all: those that a browser sends to this page, for this page, and not at the wish of a page
/// of somebody else's.
///
/// A page of a stranger's can have the browser ask here in three ways, each of which one of the fields tells: it lets its own
/// name lead to this address (Host is that name), it asks across origins (Origin, Sec-Fetch-Site), or it embeds (which the
/// policy in the answer forbids). Names are what such an attack needs, so that an address in digits is as good as ours.
struct RequestPolicy: Sendable, Equatable {
    /// Why a request is not answered.
    struct Refusal: Error, Sendable, Equatable {
        /// 403, 405 or 421.
        var status: Int
        /// A sentence for people.
        var message: String
    }

    private var address: String
    private var hosts: Set<String>
    private var isWildcard: Bool

    /// Creates the policy of what is served.
    init(_ serving: WebServing) {
        address = serving.address
        hosts = Set(serving.hosts.map { $0.lowercased() })
        isWildcard = serving.address == "0.0.0.0" || serving.address == "::"
    }

    /// Throws why a request is not answered.
    func check(_ request: HTTPRequest) throws(Refusal) {
        let values = { (name: String) in request.fields.filter { $0.name == name }.map(\.value) }
        guard ["GET", "HEAD", "POST"].contains(request.method) else {
            throw Refusal(status: 405, message: "\(request.method) is nothing that is asked for here")
        }
        // HTTP/1.0 knows requests without it; browsers do not send such.
        guard let host = values("host").first, let name = Self.hostName(host), isOurs(name) else {
            throw Refusal(
                status: 421,
                message:
                    "this page is not served under that name; ask by the address in supd.web.listen, as localhost, or "
                    + "add the name to supd.web.hosts")
        }
        guard request.method == "POST" || !Self.isPublic(request.target) else { return }
        for origin in values("origin") {
            guard Self.authority(ofOrigin: origin) == host.lowercased() else {
                throw Refusal(status: 403, message: "a page of another origin may not ask here")
            }
        }
        for site in values("sec-fetch-site") {
            guard site == "same-origin" || site == "none" && request.method != "POST" else {
                throw Refusal(status: 403, message: "another site's page may not ask here")
            }
        }
    }

    /// Whether a target is part of the page itself, to which others may link.
    static func isPublic(_ target: String) -> Bool { !target.hasPrefix("/v1/") && !target.hasPrefix("/metrics") }

    private func isOurs(_ name: String) -> Bool {
        if ["localhost", "127.0.0.1", "::1", address].contains(name) || hosts.contains(name) { return true }
        return isWildcard && Self.isInDigits(name)
    }

    /// The host in a Host field, lower case, without its port and brackets; nil if it is none.
    static func hostName(_ field: String) -> String? {
        var name = field.lowercased()[...]
        if name.first == "[" {
            guard let end = name.firstIndex(of: "]"), isPort(name[name.index(after: end)...]) else { return nil }
            name = name[name.index(after: name.startIndex)..<end]
            guard !name.isEmpty, name.utf8.allSatisfy({ isHexDigit($0) || $0 == 0x3A || $0 == 0x2E }) else {
                return nil
            }
            return String(name)
        }
        if let colon = name.firstIndex(of: ":") {
            guard isPort(name[colon...]) else { return nil }
            name = name[..<colon]
        }
        guard !name.isEmpty, name.utf8.count <= 253, name.utf8.allSatisfy(isNameByte) else { return nil }
        return String(name)
    }

    /// `home.example:9300` of `http://home.example:9300`; nil for what is no origin, as `null`.
    static func authority(ofOrigin origin: String) -> String? {
        let text = origin.lowercased()
        for scheme in ["http://", "https://"] where text.hasPrefix(scheme) {
            let rest = text.dropFirst(scheme.count)
            return hostName(String(rest)) == nil ? nil : String(rest)
        }
        return nil
    }

    /// Nothing, or a colon with up to five digits.
    private static func isPort(_ text: Substring) -> Bool {
        if text.isEmpty { return true }
        let digits = text.dropFirst()
        return text.first == ":" && (1...5).contains(digits.utf8.count) && digits.utf8.allSatisfy(isDigit)
    }

    private static func isInDigits(_ name: String) -> Bool {
        name.contains(":") || name.utf8.allSatisfy { isDigit($0) || $0 == 0x2E }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (0x30...0x39).contains(byte) }

    private static func isHexDigit(_ byte: UInt8) -> Bool { isDigit(byte) || (0x61...0x66).contains(byte) }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        isDigit(byte) || (0x61...0x7A).contains(byte) || byte == 0x2D || byte == 0x2E || byte == 0x5F
    }
}
