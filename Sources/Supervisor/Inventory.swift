import Links
import Platform

/// What the keeper tells a new supervisor before anything else.
struct Inventory {
    /// The keeper's greeting.
    struct Welcome {
        /// How many supervisors there were, this one included.
        var runs: Int
        /// How many of them crashed within the last 30 s.
        var crashes: Int
        /// The highest id ever given to a child.
        var highestID: UInt64
    }

    /// One child.
    struct Child {
        /// Its id: the generation, for a process of an instance.
        var id: UInt64
        /// What it carries.
        var label: String
        /// Its process id.
        var pid: Int32
        /// What it is doing.
        var state: ChildState
        /// The read ends of its output.
        var output: [Descriptor]
    }

    /// The greeting.
    var welcome: Welcome?
    /// All children, those too that have ended.
    var children: [Child] = []
    /// Held descriptors by name.
    var held: [String: Descriptor] = [:]
}
