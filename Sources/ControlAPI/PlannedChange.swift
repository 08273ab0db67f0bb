/// One service that another manifest touches, as `supctl apply` shows it.
package struct PlannedChange: Codable, Sendable, Hashable {
    /// One field that differs.
    package struct Field: Codable, Sendable, Hashable {
        /// Its path in the service: `limits.nofile`.
        package var field: String
        /// The old value; absent: there was none, or it is not shown.
        package var old: String?
        /// The new value; absent likewise.
        package var new: String?

        /// Creates an entry.
        package init(field: String, old: String?, new: String?) {
            self.field = field
            self.old = old
            self.new = new
        }

        /// `command: ./api → ./api --v2`; of what may be a secret only that it has changed.
        package var text: String {
            old == nil && new == nil ? "\(field): changed" : "\(field): \(old ?? "none") → \(new ?? "none")"
        }
    }

    /// The service; `supd` for the daemon's own settings.
    package var service: String
    /// live, scale, rolling, blue-green, restart, start, stop, or later.
    package var cost: String
    /// How many instances it is about.
    package var instances: Int
    /// What differs.
    package var fields: [Field]
    /// How the new instances take over, where that is not one after the other: `after a canary of 1 for 2 min`.
    package var manner: String?

    /// Creates an entry.
    package init(service: String, cost: String, instances: Int, fields: [Field], manner: String? = nil) {
        self.service = service
        self.cost = cost
        self.instances = instances
        self.fields = fields
        self.manner = manner
    }
}
