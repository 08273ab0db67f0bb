extension EventKind {
    /// How many instances a service has come to by itself.
    package struct ScaleStep: Sendable, Hashable, Codable {
        /// How many there were.
        package var from: Int
        /// How many there are to be.
        package var to: Int
        /// Why, for people: `81 connections per instance over 30 s, the target is 50`.
        package var reason: String

        /// Creates one.
        package init(from: Int, to: Int, reason: String) {
            self.from = from
            self.to = to
            self.reason = reason
        }
    }
}

extension EventKind {
    /// A service would have more instances by itself, and cannot; or could again, or needs no more.
    package struct ScaleHindrance: Sendable, Hashable, Codable {
        /// How many there are.
        package var from: Int
        /// How many its load asks for.
        package var to: Int
        /// Why it cannot have more; nil: that is over.
        package var reason: String?
        /// Why it would have more: `81 connections per instance over 30 s, the target is 50`.
        package var load: String?

        /// Creates one.
        package init(from: Int, to: Int, reason: String? = nil, load: String? = nil) {
            self.from = from
            self.to = to
            self.reason = reason
            self.load = load
        }
    }
}
