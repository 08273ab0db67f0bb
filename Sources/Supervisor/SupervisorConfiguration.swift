/// What the supervisor is told at its start, by the keeper's process, through its environment.
package struct SupervisorConfiguration: Codable, Sendable {
    /// The manifest's path as the user gave it, absolute.
    package var manifestPath: String
    /// Where the control socket is.
    package var runtimeDirectory: String
    /// Where that is kept which outlives supd.
    package var stateDirectory: String
    /// Where the logs are.
    package var logDirectory: String
    /// The keeper's process id.
    package var keeper: Int32
    /// When the keeper began, in nanoseconds of CLOCK_MONOTONIC.
    package var keeperBegan: Int64

    /// Creates a configuration.
    package init(
        manifestPath: String, runtimeDirectory: String, stateDirectory: String, logDirectory: String, keeper: Int32,
        keeperBegan: Int64
    ) {
        self.manifestPath = manifestPath
        self.runtimeDirectory = runtimeDirectory
        self.stateDirectory = stateDirectory
        self.logDirectory = logDirectory
        self.keeper = keeper
        self.keeperBegan = keeperBegan
    }

    /// The control socket's path.
    package var controlSocket: String { "\(runtimeDirectory)/control.sock" }
}
