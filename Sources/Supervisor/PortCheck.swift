import Platform

/// Whether a port is free for an instance, and who has it if not.
package enum PortCheck {
    /// Who keeps an instance from listening on 127.0.0.1 at this port: `pid 123 (nginx)`; nil if the port is free, or it
    /// cannot be told. A few microseconds when it is free.
    package static func holder(of port: UInt16) -> String? {
        // Whatever else fails here (no descriptors left) will fail the start itself, with a better text.
        guard (try? LoopbackPort.isFree(port)) == false else { return nil }
        return description(ofSocketsOn: port)
    }

    /// The process that listens on this port: `pid 123 (nginx)`, or what is known of it.
    static func description(ofSocketsOn port: UInt16) -> String {
        let sockets = (try? SocketDiagnostics.sockets(onPort: port)) ?? []
        let listeners = sockets.filter(\.isListener)
        let held = (listeners.isEmpty ? sockets : listeners).filter { $0.inode != 0 }
        guard let socket = held.first else {
            return sockets.isEmpty
                ? "a process that has bound it without listening"
                : "connections of an ended process that the kernel is still closing (TIME_WAIT)"
        }
        let purpose = listeners.isEmpty ? ", for a connection" : ""
        guard let process = process(holding: Set(held.map(\.inode))) else {
            return "a process of \(userName(socket.user)) that supd may not look at\(purpose)"
        }
        return "pid \(process.pid) (\(process.name))\(purpose)"
    }

    /// The first process that has one of these sockets open, by its pid.
    private static func process(holding inodes: Set<UInt64>) -> ProcessEntry? {
        let processes = ((try? ProcessTable.all()) ?? []).sorted { $0.pid < $1.pid }
        return processes.first { process in
            if case .found = ProcessTable.search(process.pid, forSockets: inodes) { return true }
            return false
        }
    }
}

/// `user www-data`, or `user id 123` for one that has no name.
func userName(_ user: UInt32) -> String {
    if let account = try? Accounts.account(of: user) { return "user \(account.name)" }
    return "user id \(user)"
}
