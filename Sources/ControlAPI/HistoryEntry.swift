/// What is known of a manifest that was in force, or should have come into force.
package struct HistoryEntry: Codable, Sendable, Hashable {
    /// What came of it.
    package enum Outcome: String, Codable, Sendable, Hashable {
        /// supd began with it.
        case started
        /// It is being applied.
        case underWay = "under way"
        /// It was applied.
        case done
        /// A service went back to what it was, or did not come up.
        case failed
        /// A user has sent a service of it back to what ran before; nothing has failed.
        case rolledBack = "rolled back"

        /// Whether it is one to go back to.
        package var isGood: Bool { self == .started || self == .done }
    }

    /// Its number, from 1, never given twice.
    package var number: Int
    /// When, RFC 3339 in UTC.
    package var at: String
    /// By whom: `uid 0 (pid 123)`, `the start of supd`, `SIGHUP`.
    package var by: String
    /// The user id; nil if nobody asked over the control socket.
    package var userID: UInt32?
    /// The file that it was read from.
    package var source: String
    /// What came of it.
    package var outcome: Outcome
    /// Where it failed, or was rolled back: why.
    package var reason: String?
    /// Where it was rolled back: by whom, `uid 0 (pid 123)`.
    package var rolledBackBy: String?

    /// Creates an entry.
    package init(
        number: Int = 0, at: String, by: String, userID: UInt32?, source: String, outcome: Outcome,
        reason: String? = nil, rolledBackBy: String? = nil
    ) {
        self.number = number
        self.at = at
        self.by = by
        self.userID = userID
        self.source = source
        self.outcome = outcome
        self.reason = reason
        self.rolledBackBy = rolledBackBy
    }
}

/// The answer to `GET /v1/history`.
package struct HistoryReport: Codable, Sendable, Hashable {
    /// The entries, the latest first.
    package var entries: [HistoryEntry]

    /// Creates a report.
    package init(entries: [HistoryEntry]) { self.entries = entries }
}
