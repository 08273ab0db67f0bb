import Links
import Platform

/// The roles that the keeper starts.
enum Role: String, CaseIterable, Hashable {
    case supervisor, balancer, web

    /// Whether it reads what strangers send: it has no rights, and a link of its own to the supervisor.
    var isUnprivileged: Bool { self != .supervisor }
}

/// A descriptor that the shell holds; the core only names it.
enum DescriptorKey: Hashable {
    /// The read ends of a child's stdout and stderr: two descriptors, or none.
    case output(child: UInt64)
    /// What the supervisor asked to hold under a name.
    case held(name: String)
    /// The supervisor's end of its link to the balancer.
    case balancerLink
    /// The supervisor's end of its link to the web role.
    case webLink
}

/// What happened, as the shell saw it.
enum KeeperEvent: Equatable {
    /// The keeper begins.
    case started
    /// The keeper goes on, in an image that has taken the place of another one.
    case resumed
    /// A signal came that is meant for the keeper.
    case signalled(Int32)
    /// `nextDeadline` has come.
    case timePassed

    /// A role was forked.
    case roleSpawned(Role, pid: Int32)
    /// A role could not be forked.
    case roleSpawnFailed(Role, SpawnFailure)
    /// A role has ended and is reaped.
    case roleExited(Role, ChildExit)
    /// A role said something, with so many descriptors beside it.
    case received(Role, KeeperRequest, descriptors: Int)
    /// A role's link was closed by it, or has carried something that is no message, which `reason` then names.
    case linkBroken(Role, reason: String?)

    /// A child was forked.
    case childForked(UInt64, pid: Int32)
    /// A child was not started: it could not be forked, or it has failed before the exec and is reaped.
    case childFailed(UInt64, SpawnFailure)
    /// A child has executed its program.
    case childExecuted(UInt64)
    /// A child has ended. `portIsFree`: that of its heir, if there is one.
    case childExited(UInt64, ChildExit, groupEmpty: Bool, portIsFree: Bool = true)
    /// The answer to `checkGroup`.
    case groupChecked(UInt64, empty: Bool)

    /// A process that nobody here started has become a child of the keeper.
    case orphanFound(pid: Int32, scope: String?)
    /// An adopted orphan has ended and is reaped.
    case orphanExited(pid: Int32)

    /// The answer to `tryImage`: what came of the trial. Nothing is left of it.
    case trialEnded(TrialReport)
    /// The answer to `replaceImage`, if this process is still what it was: why.
    case imageStays(String)
    /// A balancer of an image before has ended and is reaped.
    case formerBalancerExited(pid: Int32, ChildExit)
}

/// What the shell must do, in order.
enum KeeperAction: Equatable {
    /// Start a role; answered by `roleSpawned` or `roleSpawnFailed`, and after the former by `roleExited`.
    case spawnRole(Role, RoleCredentials?)
    /// SIGKILL a role.
    case killRole(Role)
    /// Close a role's link.
    case closeLink(Role)
    /// Send a message as soon as there is room; in order.
    case send(Role, KeeperNotice, [DescriptorKey])

    /// Start a child; answered by `childForked` or `childFailed`, then by what becomes of it.
    case spawn(SpawnPlan)
    /// A start will soon have to be fast.
    case wantSpare
    /// Send a signal to a child or its group, if it is still there.
    case signal(UInt64, number: Int32, group: Bool)
    /// See whether anything is left of a child's group; answered by `groupChecked`.
    case checkGroup(UInt64)
    /// A child is done with: reap it, close what is kept for it.
    case forget(UInt64)
    /// Send a signal to an orphan.
    case signalOrphan(pid: Int32, number: Int32)
    /// Look for new orphans now; answered by any number of `orphanFound`.
    case findOrphans

    /// Keep the descriptor that came beside the message being handled.
    case hold(name: String)
    /// Close it.
    case drop(name: String)

    /// Try a program in a child; answered by `trialEnded`. nil: the one by which supd was started.
    case tryImage(path: String?)
    /// End the trial, which is answered soon.
    case endTrial
    /// Become the program that was tried last, or, with a reason, go back to the one before, once this turn is over.
    case replaceImage(goingBackBecause: String?)
    /// The image has proved itself: there is no going back any more.
    case keepImage
    /// Tell a balancer of an image before to retire.
    case retireBalancer(pid: Int32)
    /// SIGKILL it.
    case killBalancer(pid: Int32)

    /// Tell systemd.
    case notify(String)
    /// Tell people that something is wrong.
    case warn(String)
    /// Tell people.
    case note(String)
    /// End with this code.
    case exit(Int32)
}

/// Signal numbers of Linux; the core calls no system.
enum SignalNumber {
    static let hangup: Int32 = 1
    static let interrupt: Int32 = 2
    static let kill: Int32 = 9
    static let terminate: Int32 = 15
    static let child: Int32 = 17
    /// Those that the keeper takes itself: what would end it, too (QUIT, USR1, USR2, ALRM, STKFLT, VTALRM, PROF, IO, PWR),
    /// for nobody's stray signal may cost the services.
    static let taken = [terminate, interrupt, hangup, child, 3, 10, 12, 14, 16, 26, 27, 29, 30]
}
