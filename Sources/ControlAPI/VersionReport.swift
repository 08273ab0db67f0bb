/// The answer to `GET /v1/version`.
package struct VersionReport: Codable, Sendable, Equatable {
    /// The version of the supd that runs.
    package var version: String
    /// The path of the program's file when it was executed; null if it cannot be told.
    package var program: String?
    /// When that file was last changed, RFC 3339 in UTC: versions alone may be equal.
    package var programModified: String?
    /// How often another program has taken the place of the one that was started.
    package var upgrades: Int?
    /// Why the last upgrade failed; null if it did not.
    package var upgradeFailure: String?
    /// Whether all roles of the program that runs do their work.
    package var isServing: Bool?

    /// Creates a report.
    package init(version: String) { self.version = version }
}

// What is absent is null, never left out.
extension VersionReport {
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(version, forKey: .version)
        try container.encode(program, forKey: .program)
        try container.encode(programModified, forKey: .programModified)
        try container.encode(upgrades, forKey: .upgrades)
        try container.encode(upgradeFailure, forKey: .upgradeFailure)
        try container.encode(isServing, forKey: .isServing)
    }
}
