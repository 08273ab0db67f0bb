/// What a service's own word means for how it is started.
extension Service {
    /// Whether it gets a socket on which it says how it is: NOTIFY_SOCKET, sd_notify(3).
    package var hasNotifySocket: Bool { ready == .notify(.systemd) || watchdog != nil }

    /// Whether the balancer takes connections for it.
    package var isBalanced: Bool { !listen.allSatisfy(\.passes) }
}

extension ReadyCheck {
    /// The number of the descriptor by which readiness is said; nil if it is not.
    package var notifyDescriptor: Int? {
        if case .notify(.descriptor(let number)) = self { number } else { nil }
    }

    /// Whether readiness is said once and cannot be asked for again, so that it must not be forgotten.
    package var isSaidOnce: Bool {
        switch self {
        case .started, .tcp, .http, .command: false
        case .notify, .log: true
        }
    }
}
