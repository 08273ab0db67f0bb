/// The answer to `GET /v1/version`.
package struct VersionReport: Codable, Sendable, Equatable {
    /// The version of the supd that runs.
    package var version: String

    /// Creates a report.
    package init(version: String) { self.version = version }
}
