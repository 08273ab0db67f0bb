/// What a connection to the control API may ask for. The socket's own connections may ask for everything: who can open it is
/// a matter of its mode. Those that the web role is given may read what the page shows, and change what a page may change if
/// the request brings the token of `web.actions`. The daemon itself looks, so that a web role that was taken over can no more.
package enum ControlRight: Sendable {
    /// Everything.
    case everything
    /// What the page needs; with a token also what it may change.
    case page(token: WebToken?)

    /// Throws what to answer to a request that this right does not cover.
    package func check(_ route: ControlRoute, _ request: HTTPRequest) throws(RouteFailure) {
        guard case .page(let token) = self else { return }
        switch route.pageUse {
        case .reading: return
        case .never:
            throw RouteFailure(403, "forbidden", "that is not for the page; ask by supctl")
        case .changing:
            guard let token else {
                throw RouteFailure(
                    403, "forbidden",
                    "the page only shows: supd.web.actions in the manifest names no token that can be used")
            }
            let given = request.fields.filter { $0.name == "authorization" }.map(\.value)
            guard given.count == 1, let value = given.first, value.lowercased().hasPrefix("bearer "),
                token.matches(value.dropFirst("bearer ".count))
            else {
                throw RouteFailure(401, "unauthorized", "that needs the token of the file that supd.web.actions names")
            }
        }
    }
}

extension ControlRoute {
    /// What the page has to do with a request.
    package enum PageUse: Sendable, Hashable {
        /// It shows the answer.
        case reading
        /// It may ask for it with the token.
        case changing
        /// It may not ask for it.
        case never
    }

    /// What the page has to do with this one.
    package var pageUse: PageUse {
        switch self {
        case .version, .status, .balancer, .metrics, .events, .logs, .usage: .reading
        case .verb(let verb, _, let options):
            switch verb {
            case .start, .stop, .restart: options.wait ? .never : .changing
            case .drain, .undrain: .never
            }
        case .scale(_, let options), .rollback(_, _, let options): options.wait ? .never : .changing
        case .signal, .limit, .apply, .history, .decide, .shutdown, .upgrade: .never
        }
    }
}

/// The secret by which the page may change something.
package struct WebToken: Sendable, Hashable {
    /// How many bytes it may have: fewer are guessed.
    package static let length = 16...256

    private let bytes: [UInt8]

    /// Takes the text of a token's file, blanks around it left out; nil unless it is printable ASCII without blanks, of
    /// `length`.
    package init?(fileText: [UInt8]) {
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
        let text = fileText.drop(while: isBlank).reversed().drop(while: isBlank).reversed()
        guard Self.length.contains(text.count), text.allSatisfy({ (0x21...0x7E).contains($0) }) else { return nil }
        bytes = Array(text)
    }

    /// Whether a text is the token, in a time that does not tell how much of it is right.
    package func matches(_ text: some StringProtocol) -> Bool { Self.isSame(text.utf8, bytes) }

    /// Whether what was given is the secret. Whatever was given, every byte of the secret is looked at, and every byte of what
    /// was given, as far as a token may be long: how long it takes depends on the two lengths alone.
    static func isSame(_ given: some Collection<UInt8>, _ secret: some Collection<UInt8>) -> Bool {
        var rest = given.prefix(length.upperBound + 1)[...]
        var difference: UInt8 = 0
        for byte in secret {
            if let other = rest.popFirst() { difference |= byte ^ other } else { difference |= 1 }
        }
        for _ in rest { difference |= 1 }
        return difference == 0
    }
}
