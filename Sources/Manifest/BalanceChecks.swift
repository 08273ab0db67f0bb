extension ManifestChecks {
    /// What a service says of balancing must do something. What comes from `defaults` holds where it can.
    func checkBalance(of draft: ServiceDraft, _ reader: inout FieldReader) {
        if draft.listen.isEmpty, !draft.listenIsWrong { return checkBalanceWithoutFront(of: draft, &reader) }
        guard draft.balance.algorithm == .source, draft.balance.slowStart > .zero,
            let location = draft.balanceKeys["slowStart"]?.unlessDefault
        else { return }
        reader.problems.add(
            location,
            "found \"slowStart\" with the algorithm \"source\", expected no such key, or another algorithm: "
                + "\"source\" chooses by the client's address alone, so that no share can ramp up")
    }

    /// Without a front the balancer does nothing for a service. Only probes by HTTP heed `proxyProtocol` all the same.
    private func checkBalanceWithoutFront(of draft: ServiceDraft, _ reader: inout FieldReader) {
        guard let section = draft.balanceSection?.unlessDefault else { return }
        let own = draft.balanceKeys.filter { $0.value.unlessDefault != nil }
        guard draft.isProbedByHTTP, own["proxyProtocol"] != nil else {
            reader.problems.add(
                section,
                "found \"balance\" for a service without \"listen\", expected an address to listen on, or no such key: "
                    + "the balancer takes no connections for it")
            return
        }
        for (name, location) in own where name != "proxyProtocol" {
            reader.problems.add(
                location,
                "found \(quoted(name)) for a service without \"listen\", expected an address to listen on, or no such key: "
                    + "the balancer takes no connections for it, and probes by HTTP heed proxyProtocol alone")
        }
    }
}

extension ServiceDraft {
    /// Whether a probe of its readiness or health is a GET.
    fileprivate var isProbedByHTTP: Bool {
        if case .http = ready { return true }
        if case .http = health.check { return true }
        return false
    }
}
