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
