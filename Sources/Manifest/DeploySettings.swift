/// The `deploy` section.
package struct DeploySettings: Sendable, Hashable, Codable {
    /// How many new instances may run beside the old ones, 0 to 100; without a front, or on a fixed port, none does.
    package var surge: Int
    /// By how many instances a service may be short meanwhile, 0 to 1000.
    package var maxUnavailable: Int
    /// How often a new instance may die, or fail to start, before the old manifest is gone back to, from 1.
    package var failures: Int
    /// Whether some new instances are on trial before the others follow; nil: they are not.
    package var canary: CanarySettings?
    /// How new instances take over; nil: `rolling`.
    package var strategy: Strategy?

    /// How new instances take over from old ones.
    package enum Strategy: String, Sendable, Hashable, Codable, CaseIterable {
        /// One after the other.
        case rolling
        /// All at once, when a whole set of them is ready.
        case blueGreen = "blue-green"
    }

    /// Whether all new instances take over at once.
    package var isBlueGreen: Bool { strategy == .blueGreen }

    /// Creates settings; the defaults are the manifest's.
    package init(
        surge: Int = 1, maxUnavailable: Int = 0, failures: Int = 3, canary: CanarySettings? = nil,
        strategy: Strategy? = nil
    ) {
        self.surge = surge
        self.maxUnavailable = maxUnavailable
        self.failures = failures
        self.canary = canary
        self.strategy = strategy
    }
}

/// The `deploy.canary` section.
package struct CanarySettings: Sendable, Hashable, Codable {
    /// How many new instances are on trial beside the old ones, 1 to 100.
    package var replicas: Int
    /// For how long.
    package var hold: Duration

    /// Creates settings; the default is the manifest's.
    package init(replicas: Int = 1, hold: Duration) {
        self.replicas = replicas
        self.hold = hold
    }
}
