import Links
import Platform

/// Another image on its way to take over.
struct Upgrade: Equatable {
    enum Phase: Equatable {
        /// It is tried in a child, until then at most.
        case trying(until: Int64)
        /// The trial went well, and the supervisor is to end, by its own hand until then. `goingBackBecause`: it is the image
        /// before that takes over again.
        case leaving(until: Int64, goingBackBecause: String?)
    }

    var phase: Phase
    /// It does not take over, whatever comes of the trial.
    var onlyTries: Bool

    /// Whether roles are not started any more by this image.
    var isLeaving: Bool {
        if case .leaving = phase { true } else { false }
    }
}

/// What is known of the images that this keeper has been.
struct Images: Equatable {
    /// How often one took the place of another.
    var count = 0
    /// Why the last attempt failed; nil: it did not.
    var failure: String?
    /// Whether this image's first supervisor is not ready yet; until then it can go back to the one before.
    var isOnTrial = false
    /// How many of its supervisors have ended meanwhile.
    var crashes = 0
}

/// A balancer of an image before: it serves until another one does, then only the connections that it has.
struct FormerBalancer: Equatable {
    var pid: Int32
    /// When it is killed; nil: it was not told to retire yet.
    var until: Int64?
}

/// Replacing the keeper's own image while everything else goes on (`supctl upgrade`):
///
/// 1. The new program is tried in a child, which reads all that it would take over, and says whether it can.
/// 2. The supervisor writes down its snapshot and ends. Nobody starts another one.
/// 3. The keeper executes the new image, with its tables in a file in memory. Process id, children and descriptors stay.
/// 4. The new image starts a supervisor and a balancer. The old balancer goes on until the new one serves, and then ends
///    with its last connection.
///
/// What fails before 3 changes nothing. If the new image cannot read the tables, or its supervisors do not get ready, the
/// keeper executes the old image again.
extension KeeperCore {
    private static let second: Int64 = 1_000_000_000
    /// How long a trial may take.
    static let trialTime = 10 * second
    /// How long the supervisor has to end by itself.
    static let leavingTime = 5 * second
    /// How long a balancer may take to end beyond its connections' time.
    static let retiringTime = 10 * second
    /// The longest time for connections that anybody can ask for.
    static let longestDrain = 86_400 * second
    /// So many balancers of images before there may be; the oldest is killed.
    static let formerBalancerLimit = 4
    /// After so many ends of supervisors that were not ready the image goes back to the one before.
    static let crashesUntilBack = 3

    /// When `upgradeTimePassed` will have something to do.
    var upgradeDeadline: Int64? {
        let upgradeEnd: Int64? =
            switch upgrade?.phase {
            case .trying(let until): until
            case .leaving(let until, _): until
            case nil: nil
            }
        return (formerBalancers.map(\.until) + [upgradeEnd]).compactMap(\.self).min()
    }

    // MARK: The trial

    mutating func beginTrial(of path: String?, onlyTries: Bool, at now: Int64) {
        guard case .running = phase else {
            return tell(.trialEnded(TrialReport(path: path ?? "", failure: "supd is stopping")))
        }
        guard upgrade == nil else {
            return tell(.trialEnded(TrialReport(path: path ?? "", failure: "another upgrade is under way")))
        }
        upgrade = Upgrade(phase: .trying(until: now + Self.trialTime), onlyTries: onlyTries)
        // What went wrong before is no news any more.
        setFailure(nil)
        act(.tryImage(path: path))
    }

    mutating func trialEnded(_ report: TrialReport, at now: Int64) {
        guard let upgrade, case .trying = upgrade.phase else { return }
        self.upgrade = nil
        tell(.trialEnded(report))
        if let failure = report.failure {
            act(.warn("\(report.path) cannot take over: \(failure)"))
            if !upgrade.onlyTries { setFailure("\(report.path): \(failure)") }
        } else if !upgrade.onlyTries {
            act(.note("\(report.path) takes over: it is supd \(report.version ?? "")"))
            leave(goingBackBecause: nil, at: now)
        }
    }

    /// Lets the supervisor end, and then the image.
    private mutating func leave(goingBackBecause reason: String?, at now: Int64) {
        upgrade = Upgrade(
            phase: .leaving(until: now + Self.leavingTime, goingBackBecause: reason), onlyTries: false)
        switch supervisor.phase {
        case .unwanted, .due: act(.replaceImage(goingBackBecause: reason))
        // Its `roleSpawned` comes in this turn.
        case .spawning: break
        case .running(let process):
            if process.isGreeted, !process.isCondemned {
                tell(.leave)
                supervisor.expectEnd()
            } else {
                kill(.supervisor, wanted: true)
            }
        }
    }

    /// A supervisor has ended.
    mutating func supervisorEnded(wasWanted: Bool) {
        if case .leaving(_, let reason) = upgrade?.phase {
            // What it knows is asked for again. Its end the next image sees as that of a process it has adopted.
            kill(.web, wanted: true)
            act(.replaceImage(goingBackBecause: reason))
        } else if images.isOnTrial, !wasWanted, case .running = phase {
            images.crashes += 1
            guard images.crashes >= Self.crashesUntilBack else { return }
            let reason = "its supervisor ended \(images.crashes) times before it was ready"
            act(.warn("the new supd is of no use, the one before takes over again: \(reason)"))
            upgrade = Upgrade(phase: .leaving(until: .max, goingBackBecause: reason), onlyTries: false)
            kill(.web, wanted: true)
            act(.replaceImage(goingBackBecause: reason))
        }
    }

    /// The first supervisor of this image is ready.
    mutating func imageIsProved() {
        guard images.isOnTrial else { return }
        images.isOnTrial = false
        act(.keepImage)
    }

    /// This process is still what it was.
    mutating func imageStays(_ reason: String) {
        act(.warn("no other supd takes over: \(reason)"))
        upgrade = nil
        // There is nothing to go back to, or it cannot be executed: this image goes on as well as it can.
        images.isOnTrial = false
        setFailure(reason)
    }

    /// For whoever asks what came of an upgrade: who asked for it may be gone with the supervisor.
    private mutating func setFailure(_ failure: String?) {
        guard images.failure != failure else { return }
        images.failure = failure
        tell(.upgraded(count: images.count, failure: failure))
    }

    /// Everything is to stop.
    mutating func cancelUpgrade(_ reason: String) {
        guard let upgrade else { return }
        self.upgrade = nil
        if !upgrade.isLeaving { act(.endTrial) }
        tell(.trialEnded(TrialReport(path: "", failure: reason)))
    }

    mutating func upgradeTimePassed(at now: Int64) {
        switch upgrade?.phase {
        case .trying(let until) where until <= now:
            act(.endTrial)
            let onlyTries = upgrade?.onlyTries ?? false
            upgrade = nil
            let seconds = Self.trialTime / Self.second
            let failure = "it has not said within \(seconds) s whether it can take over"
            act(.warn("no other supd takes over: \(failure)"))
            tell(.trialEnded(TrialReport(path: "", failure: failure)))
            if !onlyTries { setFailure(failure) }
        case .leaving(let until, let reason) where until <= now:
            upgrade?.phase = .leaving(until: .max, goingBackBecause: reason)
            kill(.supervisor, wanted: true)
        case .trying, .leaving, nil: break
        }
        for index in formerBalancers.indices {
            guard let until = formerBalancers[index].until, until <= now else { continue }
            formerBalancers[index].until = .max
            act(.warn("the balancer before (pid \(formerBalancers[index].pid)) does not end: it is killed"))
            act(.killBalancer(pid: formerBalancers[index].pid))
        }
    }

    // MARK: Afterwards

    /// This image goes on with the tables of another one.
    mutating func resumed(at now: Int64) {
        act(.note(images.failure.map { "going on as before: \($0)" } ?? "supd \(version) has taken over"))
        supervisor.want(at: now)
        if wantsBalancerAtOnce { balancer.want(at: now) }
        act(.findOrphans)
        for former in formerBalancers.dropLast(Self.formerBalancerLimit) { act(.killBalancer(pid: former.pid)) }
    }

    /// Those who have not been told yet end with their connections.
    mutating func retireFormerBalancers(within drainTime: Int64, at now: Int64) {
        let time = min(max(drainTime, 0), Self.longestDrain) + Self.retiringTime
        for index in formerBalancers.indices where formerBalancers[index].until == nil {
            formerBalancers[index].until = now + time
            act(.retireBalancer(pid: formerBalancers[index].pid))
        }
    }

    mutating func formerBalancerExited(_ pid: Int32, _ exit: ChildExit) {
        formerBalancers.removeAll { $0.pid == pid }
        if phase.replacesRoles { act(.note("the balancer before (pid \(pid)) \(exit.words)")) }
        tell(.formerBalancerEnded(pid: pid))
    }
}
