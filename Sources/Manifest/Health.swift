/// The `health` section: liveness of ready instances.
package struct HealthSettings: Sendable, Hashable, Codable {
    /// What shows that it is healthy.
    package enum Check: Sendable, Hashable, Codable {
        /// Its port accepts connections, and the listener is its own.
        case tcp
        /// A GET on its port is answered as it should be.
        case http(HTTPCheck)
        /// A command exits with 0; same user, directory and environment as the instance.
        case command([Template])
    }

    /// What is probed.
    package var check: Check
    /// From one probe to the next.
    package var interval: Duration
    /// How long a probe may take.
    package var timeout: Duration
    /// So many failures in a row make an instance unhealthy, from 1.
    package var failures: Int
    /// So many passes in a row make it healthy again, from 1.
    package var successes: Int

    /// Creates settings; the defaults are the manifest's.
    package init(
        check: Check, interval: Duration = .seconds(10), timeout: Duration = .seconds(1), failures: Int = 3,
        successes: Int = 1
    ) {
        self.check = check
        self.interval = interval
        self.timeout = timeout
        self.failures = failures
        self.successes = successes
    }
}

/// A GET and the answer that it should have.
package struct HTTPCheck: Sendable, Hashable, Codable {
    /// The path, with the query if there is one.
    package var path: Template
    /// The lowest status that is right, from 200.
    package var lowestStatus: Int
    /// The highest status that is right, up to 999.
    package var highestStatus: Int
    /// What the body must contain; nil: it does not matter.
    package var body: String?
    /// The value of the `Host` header; nil: 127.0.0.1 and the port.
    package var host: String?

    /// Creates a check; the defaults are the manifest's.
    package init(
        path: Template, lowestStatus: Int = 200, highestStatus: Int = 399, body: String? = nil, host: String? = nil
    ) {
        self.path = path
        self.lowestStatus = lowestStatus
        self.highestStatus = highestStatus
        self.body = body
        self.host = host
    }

    /// Whether a status is right.
    package func accepts(_ status: Int) -> Bool { lowestStatus <= status && status <= highestStatus }
}
