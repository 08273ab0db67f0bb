import FoundationEssentials
import Links
import Platform

/// All that an image of the keeper leaves to the one that takes its place in the same process, and shows to one that is
/// tried. Descriptors are given by their numbers, which stay the same over execve(2). Times are of CLOCK_MONOTONIC.
///
/// It is written by one version and read by another one: what is added must be optional, and what changes its meaning
/// raises `version`.
package struct KeeperState: Codable, Sendable, Equatable {
    /// The version that this image writes.
    package static let version = 1
    /// Those that it can read.
    package static let readable = 1...1
    /// The environment variable that tells a keeper where the state of the image before is.
    package static let variable = "SUPD_KEEPER_STATE"
    /// The environment variable that tells it, besides, why it was not the image after it that went on.
    package static let failureVariable = "SUPD_KEEPER_FAILURE"
    /// The largest state, in bytes.
    package static let limit = 1 << 30

    /// Of the format.
    package var version = Self.version
    /// The keeper's.
    package var processID: Int32
    /// A text that the answer of a trial must contain.
    package var nonce: String
    /// What the program around the keeper needs.
    package var program: KeeperProgram
    /// The text in SUPD_SCOPE.
    package var scope: String
    /// How often an image took the place of another one.
    package var upgrades: Int
    /// The image itself, for a return; nil: there is no return.
    package var formerImage: Int32?
    /// Its `program.path`.
    package var formerPath: String?

    var children: [Child]
    var orphans: [Orphan]
    /// Held descriptors by name.
    var held: [String: Int32]
    /// Balancers, the oldest first; the last one may serve.
    var balancers: [Balancer]
    var balancerCredentials: RoleCredentials?
    /// Whether the image before had one, or wanted one.
    var wantsBalancer: Bool
    /// How many supervisors and balancers there were.
    var supervisorRuns: Int
    var balancerRuns: Int
    var highestID: UInt64
    var wasReady: Bool
    /// Children that were there before the keeper.
    var strangers: [Int32]
    /// The limit of open files before the keeper raised its own.
    var formerFileLimit: SpawnPlan.Limit?
    /// The limit of processes before the keeper lowered its own.
    var formerProcessLimit: SpawnPlan.Limit?

    struct Child: Codable, Sendable, Equatable {
        var id: UInt64
        var label: String
        var pid: Int32
        var state: ChildState
        /// With `state` exited.
        var exit: ChildExit?
        var groupEmpty: Bool?
        var mark: String?
        var standbyPort: UInt16?
        var standby: StandingOrder?
        /// The pidfd.
        var process: Int32
        var output: [Int32]
        /// Whether its end is still to be seen.
        var isWatched: Bool
        /// The read end of its status pipe.
        var status: Int32?
        var failure: SpawnFailure?
        var isReaped: Bool
    }

    /// A plan that another version may not be able to read: then there is no order, and the supervisor gives another one.
    struct StandingOrder: Codable, Sendable, Equatable {
        var plan: SpawnPlan?

        init(_ plan: SpawnPlan) { self.plan = plan }

        init(from decoder: any Decoder) { plan = try? SpawnPlan(from: decoder) }

        func encode(to encoder: any Encoder) throws { try plan?.encode(to: encoder) }
    }

    struct Orphan: Codable, Sendable, Equatable {
        var pid: Int32
        var scope: String?
        /// The pidfd.
        var process: Int32
    }

    struct Balancer: Codable, Sendable, Equatable {
        var pid: Int32
        /// The pidfd.
        var process: Int32
        /// The keeper's end of its link.
        var link: Int32?
        /// When it is killed; nil: it was not told to retire.
        var until: Int64?
    }

    /// All numbers of descriptors in it, but those of the program itself.
    var descriptors: [Int32] {
        children.flatMap { [$0.process] + $0.output + [$0.status].compactMap(\.self) } + orphans.map(\.process)
            + held.values.sorted() + balancers.flatMap { [$0.process] + [$0.link].compactMap(\.self) }
            + [formerImage].compactMap(\.self)
    }

    /// The number of the descriptor that the supervisor asked to hold under a name.
    package func held(_ name: String) -> Int32? { held[name] }

}

extension KeeperState {
    /// As JSON.
    package func encoded() throws -> [UInt8] { [UInt8](try JSONEncoder().encode(self)) }

    /// Why a state is of no use.
    package struct Unreadable: Error, Sendable {
        /// In words.
        package var text: String
    }

    private struct Header: Decodable {
        var version: Int
    }

    /// Reads a state.
    package init(_ bytes: [UInt8]) throws(Unreadable) {
        do {
            let header = try JSONDecoder().decode(Header.self, from: Data(bytes))
            guard Self.readable.contains(header.version) else {
                throw Unreadable(
                    text: "the tables of the running supd have format \(header.version), which this one cannot read")
            }
            self = try JSONDecoder().decode(KeeperState.self, from: Data(bytes))
        } catch let error as Unreadable {
            throw error
        } catch {
            throw Unreadable(text: "the tables of the running supd cannot be read: \(error)")
        }
    }
}

/// What the program around the keeper leaves to the one that takes its place.
package struct KeeperProgram: Codable, Sendable, Equatable {
    /// The supervisor's configuration as it was written at the start.
    package var supervisorConfiguration: String
    /// Which program to take for an upgrade, if no other is named.
    package var path: String
    /// Locks that are held by descriptors.
    package var locks: [Int32]

    /// Creates the values.
    package init(supervisorConfiguration: String, path: String, locks: [Int32]) {
        self.supervisorConfiguration = supervisorConfiguration
        self.path = path
        self.locks = locks
    }
}

/// What a program answers in its trial.
package struct TrialAnswer: Codable, Sendable, Equatable {
    /// The longest answer, in bytes.
    package static let limit = 16_384

    /// That of the state.
    package var nonce: String
    /// The program's version.
    package var version: String
    /// Why it cannot take over; nil: it can.
    package var failure: String?

    /// Creates an answer.
    package init(nonce: String, version: String, failure: String? = nil) {
        self.nonce = nonce
        self.version = version
        self.failure = failure
    }
}
