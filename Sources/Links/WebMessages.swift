import Platform

/// What the supervisor says to the web role.
package enum WebRequest: Codable, Sendable, Equatable {
    /// The first message of every new supervisor. Answered by `hello`; what was asked of the one before has no answer.
    case hello(version: Int)
    /// A listening socket, which comes beside this message.
    case listener(id: String)
    /// How to serve, from now on; listeners that it does not name are closed.
    case serve(WebServing)
    /// The answer to `connect`: one end of a connection to the control API, which comes beside this message, or none if there
    /// are too many.
    case connection(number: UInt64)
}

/// What the web role says to the supervisor.
package enum WebNotice: Codable, Sendable, Equatable {
    /// The answer to hello: the listeners it has.
    case hello(version: Int, listeners: [String])
    /// Asks for a connection to the control API. It can read there what the page shows, and, with a user's token, do what the
    /// page may do; nothing else. Answered by `connection` with the same number.
    case connect(number: UInt64)
    /// A line for the log of supd; `level` is a syslog level (3 error, 4 warning, 6 info).
    case log(level: Int, text: String)
}

/// What the web role needs to know of the manifest.
package struct WebServing: Codable, Sendable, Equatable {
    /// The listeners, by id.
    package var listeners: [String]
    /// The address in the manifest, without a port: `127.0.0.1`, `::`.
    package var address: String
    /// Further names in a Host field.
    package var hosts: [String]
    /// Whether the page may offer to change something.
    package var allowsActions: Bool

    /// Creates a value.
    package init(listeners: [String], address: String, hosts: [String], allowsActions: Bool) {
        self.listeners = listeners
        self.address = address
        self.hosts = hosts
        self.allowsActions = allowsActions
    }
}

extension WebRequest: LinkMessage {}
extension WebNotice: LinkMessage {}
