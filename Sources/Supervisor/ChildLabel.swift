import Supervision

/// The label that a child carries at the keeper: enough to know it again without any snapshot.
enum ChildLabel: Equatable {
    /// A process of an instance, and its port.
    case instance(InstanceID, port: UInt16)
    /// A command that probes an instance.
    case probe

    /// The text that the keeper holds.
    var text: String {
        switch self {
        case .instance(let id, let port): "instance \(id) \(port)"
        case .probe: "probe"
        }
    }

    /// Reads a label; nil if it is none of ours.
    init?(_ text: String) {
        if text == "probe" {
            self = .probe
            return
        }
        let words = text.split(separator: " ")
        guard words.count == 3, words[0] == "instance", let port = UInt16(words[2]) else { return nil }
        let name = words[1].split(separator: "/")
        guard name.count == 2, let number = Int(name[1]) else { return nil }
        self = .instance(InstanceID(service: String(name[0]), number: number), port: port)
    }
}
