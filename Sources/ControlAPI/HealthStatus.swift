/// What health probes of an instance have shown.
package struct HealthStatus: Codable, Sendable, Equatable {
    /// healthy, unhealthy, or unknown before the first probe.
    package var state: String
    /// Failures in a row.
    package var failures: Int
    /// The last failure, perhaps one of an earlier process; null if there was none.
    package var lastFailure: FailedProbe?

    /// Creates an entry.
    package init(state: String, failures: Int, lastFailure: FailedProbe? = nil) {
        self.state = state
        self.failures = failures
        self.lastFailure = lastFailure
    }

    /// Whether it is unhealthy.
    package var isUnhealthy: Bool { state == "unhealthy" }
}

/// A probe that has failed.
package struct FailedProbe: Codable, Sendable, Equatable {
    /// Why.
    package var reason: String
    /// What its command printed, or the body of the answer, cut to 1,000 characters; null if nothing.
    package var output: String?
    /// When, RFC 3339 in UTC.
    package var at: String

    /// Creates an entry.
    package init(reason: String, output: String? = nil, at: String) {
        self.reason = reason
        self.output = output
        self.at = at
    }
}

// What is absent is null; see StatusReport.swift.

extension HealthStatus {
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(state, forKey: .state)
        try container.encode(failures, forKey: .failures)
        try container.encode(lastFailure, forKey: .lastFailure)
    }
}

extension FailedProbe {
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(reason, forKey: .reason)
        try container.encode(output, forKey: .output)
        try container.encode(at, forKey: .at)
    }
}
