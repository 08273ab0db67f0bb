import FoundationEssentials

/// Who this process is, from the environment that its supervisor gave it.
struct Identity: Sendable {
    /// `SERVICE`.
    let service: String
    /// `INSTANCE`.
    let instance: Int
    /// `HOST`, an IPv4 address.
    let host: String
    /// `PORT`; nil if there is none or it is no port.
    let port: UInt16?
    /// The process id.
    let pid = ProcessInfo.processInfo.processIdentifier

    /// Reads an environment.
    init(environment: [String: String]) {
        service = environment["SERVICE"] ?? "demo-service"
        instance = environment["INSTANCE"].flatMap { Int($0) } ?? 1
        host = environment["HOST"] ?? "127.0.0.1"
        port = environment["PORT"].flatMap { UInt16($0) }
    }
}
