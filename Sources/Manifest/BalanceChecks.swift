extension ManifestChecks {
    /// What a service says of balancing must do something. What comes from `defaults` holds where it can.
    func checkBalance(of draft: ServiceDraft, _ reader: inout FieldReader) {
        if !draft.mayBeBalanced { return checkBalanceWithoutFront(of: draft, &reader) }
        guard draft.balance.algorithm == .source, let algorithm = draft.balanceKeys["algorithm"],
            draft.balance.slowStart > .zero, let location = draft.balanceKeys["slowStart"]?.unlessDefault
        else { return }
        let origin = algorithm.unlessDefault == nil ? " of the defaults" : ""
        reader.problems.add(
            location,
            "found \"slowStart\" with the algorithm \"source\"\(origin), expected no such key, or another algorithm: "
                + "\"source\" chooses by the client's address alone, so that no share can ramp up")
    }

    /// Without a front of its own the balancer does nothing for a service. Only probes by HTTP heed `proxyProtocol` all the
    /// same.
    private func checkBalanceWithoutFront(of draft: ServiceDraft, _ reader: inout FieldReader) {
        guard let section = draft.balanceSection?.unlessDefault else { return }
        let (what, why) =
            draft.listen.isEmpty
            ? (
                "for a service without \"listen\", expected an address to listen on, or no such key",
                "the balancer takes no connections for it"
            )
            : (
                "for a service whose fronts all have \"pass\", expected no such key",
                "the service accepts the connections itself, and the balancer sees none of them"
            )
        let own = draft.balanceKeys.filter { $0.value.unlessDefault != nil }
        guard draft.isProbedByHTTP, own["proxyProtocol"] != nil else {
            return reader.problems.add(section, "found \"balance\" \(what): \(why)")
        }
        for (name, location) in own where name != "proxyProtocol" {
            reader.problems.add(
                location, "found \(quoted(name)) \(what): \(why), and probes by HTTP heed proxyProtocol alone")
        }
    }
}

extension ServiceDraft {
    /// Whether it has a front of the balancer, as far as can be told: an address that is wrong may have been meant for one.
    var mayBeBalanced: Bool {
        listenIsWrong || listen.contains { !$0.settings.passes || $0.address == nil }
    }

    /// What comes from `defaults` is left out where it can do nothing: without a front of the balancer's. There the header
    /// of probes is what the service itself says of it, since nobody else would send one.
    var finishedBalance: BalanceSettings {
        if mayBeBalanced { return balance }
        var settings = BalanceSettings()
        if balanceKeys["proxyProtocol"]?.unlessDefault != nil { settings.proxyProtocol = balance.proxyProtocol }
        return settings
    }

    /// Whether a probe of its readiness or health is a GET.
    fileprivate var isProbedByHTTP: Bool {
        if case .http = ready { return true }
        if case .http = health.check { return true }
        return false
    }
}
