/// A point in time of CLOCK_MONOTONIC, in nanoseconds; the same in all processes of the machine.
package struct Instant: Sendable, Hashable, Comparable, Codable {
    /// Nanoseconds.
    package var nanoseconds: Int64

    /// Creates an instant.
    package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    package static func < (left: Instant, right: Instant) -> Bool { left.nanoseconds < right.nanoseconds }
}

/// The number of one start of one instance; every spawn gets a new one, and none is used twice by a keeper.
package struct Generation: Sendable, Hashable, Comparable, Codable, CustomStringConvertible {
    /// The number, from 1.
    package var number: UInt64

    /// Creates a generation.
    package init(_ number: UInt64) { self.number = number }

    package static func < (left: Generation, right: Generation) -> Bool { left.number < right.number }
    package var description: String { String(number) }
}

/// An instance's name: `api/2`.
package struct InstanceID: Sendable, Hashable, Comparable, Codable, CustomStringConvertible {
    /// The service's name.
    package var service: String
    /// Its number, from 1.
    package var number: Int

    /// Creates a name.
    package init(service: String, number: Int) {
        self.service = service
        self.number = number
    }

    package static func < (left: InstanceID, right: InstanceID) -> Bool {
        (left.service, left.number) < (right.service, right.number)
    }
    package var description: String { "\(service)/\(number)" }
}

/// How a process ended.
package enum ExitStatus: Sendable, Hashable, Codable {
    /// By exit(3) with this code, 0 to 255.
    case code(Int32)
    /// By a signal.
    case signal(Int32, coreDumped: Bool)
}

/// Why a process could not be started; the text is complete and for people ("cannot change directory to /srv/api: No
/// such file or directory").
package struct StartFailure: Error, Sendable, Hashable, Codable {
    /// The text.
    package var text: String

    /// Creates a failure.
    package init(text: String) { self.text = text }
}

/// What is wanted of an instance.
package enum Goal: String, Sendable, Hashable, Codable {
    /// It should run (a task: should have run).
    case up
    /// It should not run.
    case down
}

/// The number of one command of a user, given by the shell.
package struct CommandID: Sendable, Hashable, Codable {
    /// The number.
    package var number: UInt64

    /// Creates a number.
    package init(_ number: UInt64) { self.number = number }
}

/// What a user can ask of instances.
package enum Verb: String, Sendable, Hashable, Codable {
    /// Goal up, at once; a completed task runs again. Dependencies that are down are started as well.
    case start
    /// Goal down.
    case stop
    /// Replace, one instance of a service after the other: with others standing in where that can be, else in place.
    case restart
    /// Take no new connections; done when those open have ended.
    case drain
    /// Take connections again.
    case undrain

    /// Whether it is about what runs; the others are about connections alone.
    var changesGoals: Bool {
        switch self {
        case .start, .stop, .restart: true
        case .drain, .undrain: false
        }
    }

    /// Whether a command of this verb ends an older one about the same instance.
    func takesOver(from older: Verb) -> Bool {
        switch self {
        case .start, .stop, .restart: older.changesGoals
        case .undrain: older == .drain
        // Two may wait for the same connections.
        case .drain: false
        }
    }
}

// Wrappers of one value are encoded as that value, which keeps the snapshot small.

extension Instant {
    package init(from decoder: any Decoder) throws {
        nanoseconds = try decoder.singleValueContainer().decode(Int64.self)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(nanoseconds)
    }
}

extension Generation {
    package init(from decoder: any Decoder) throws {
        number = try decoder.singleValueContainer().decode(UInt64.self)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(number)
    }
}
