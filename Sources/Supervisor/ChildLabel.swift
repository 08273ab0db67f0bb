package import Supervision

/// What the keeper holds beside each child for the next supervisor: `leader api/2 17 20001`, with ` ready` once it has said so.
package struct ChildLabel: Sendable, Hashable, CustomStringConvertible {
    /// What the child is to its instance.
    package enum Role: String, Sendable, Hashable {
        /// The instance's own process.
        case leader
        /// A run of its readiness command.
        case probe
    }

    /// What the child is.
    package var role: Role
    /// The instance.
    package var instance: InstanceID
    /// The start that it is, or that it probes.
    package var generation: Generation
    /// The instance's port.
    package var port: UInt16
    /// Whether it has said that it is ready, which it says once.
    package var saidReady: Bool

    /// Creates a label.
    package init(role: Role, instance: InstanceID, generation: Generation, port: UInt16, saidReady: Bool = false) {
        self.role = role
        self.instance = instance
        self.generation = generation
        self.port = port
        self.saidReady = saidReady
    }

    /// Reads a label back; nil if it is none.
    package init?(_ text: String) {
        let fields = text.split(separator: " ", omittingEmptySubsequences: false)
        guard fields.count == 4 || (fields.count == 5 && fields[4] == "ready"),
            let role = Role(rawValue: String(fields[0])), let slash = fields[1].lastIndex(of: "/"),
            let number = Int(fields[1][fields[1].index(after: slash)...]), number > 0,
            let generation = UInt64(fields[2]), let port = UInt16(fields[3])
        else { return nil }
        self.init(
            role: role, instance: InstanceID(service: String(fields[1][..<slash]), number: number),
            generation: Generation(generation), port: port, saidReady: fields.count == 5)
    }

    package var description: String { "\(role.rawValue) \(instance) \(generation) \(port)\(saidReady ? " ready" : "")" }
}
