public import EdgeCluster
import EdgeMemory
import EdgeTypes

extension GossipWorld {
    func noteCrash(_ node: Int) {
        report.crashes.append(CrashReport(node: node, atNs: nowNs))
        var known = [Bool](repeating: true, count: places.count)
        for other in 0..<places.count where places[other].isRunning && other != node {
            known[other] = false
        }
        knowers.append(known)
        crashed[places[node].boot] = knowers.count - 1
    }

    /// Looks at what a node has come to believe.
    func watch(_ observer: Int, _ event: MemberEvent) {
        fold((UInt64(event.kind.rawValue) << 56) ^ (UInt64(observer) << 32) ^ event.boot)
        let node = Self.node(of: event.boot)
        if event.kind == .joined {
            let place = observer * places.count + node
            if Self.start(of: event.boot) < latest[place] { report.oldBootsTaken += 1 }
            latest[place] = max(latest[place], Self.start(of: event.boot))
        }
        guard event.kind == .died else { return }
        if let crash = crashed[event.boot] {
            learn(crash, observer)
            return
        }
        // An earlier process at that place is rightly dead.
        guard places[node].boot == event.boot, places[node].isRunning, !places[node].isStopped
        else { return }
        if cutBelow >= 0 || deafBelow >= 0 || nowNs < healedNs + Self.graceNs { return }
        if places[node].isPausing || places[node].pausedUntilNs > nowNs {
            report.deathsOfPausing += 1
            return
        }
        report.falseDeathCount += 1
        if machines[observer].counters.deathsDeclared > declared[observer] {
            report.falseDeclarations += 1
        }
        if report.falseDeaths.count < 100 {
            report.falseDeaths.append(
                FalseDeath(atNs: nowNs, observer: observer, member: node))
        }
    }

    /// For how long what was believed during a cut may still be told.
    static let graceNs: UInt64 = 60_000_000_000

    private func learn(_ crash: Int, _ observer: Int) {
        guard !knowers[crash][observer] else { return }
        knowers[crash][observer] = true
        let passedNs = nowNs - report.crashes[crash].atNs
        if report.crashes[crash].firstNs == nil { report.crashes[crash].firstNs = passedNs }
        // Those that ended meanwhile need not know.
        for node in 0..<places.count where !knowers[crash][node] && places[node].isRunning {
            return
        }
        if report.crashes[crash].allNs == nil { report.crashes[crash].allNs = passedNs }
    }

    /// Compares views, now and then.
    func look() {
        var frozen = 0
        for node in 0..<places.count {
            if places[node].isRunning && machines[node].isRebalancingFrozen { frozen += 1 }
        }
        report.mostFrozen = max(report.mostFrozen, frozen)
        if report.agreedNs == nil, doAgree { report.agreedNs = nowNs - lastFaultNs }
    }

    /// Whether every node that takes part knows exactly those that take part.
    public var doAgree: Bool {
        var first = -1
        var members = 0
        for node in 0..<places.count where places[node].isRunning && !places[node].isStopped {
            if machines[node].isMember { members += 1 }
            if first < 0 { first = node }
        }
        guard first >= 0 else { return true }
        let digest = machines[first].bootDigest
        for node in 0..<places.count where places[node].isRunning && !places[node].isStopped {
            if !machines[node].isMember || machines[node].bootDigest != digest { return false }
            if machines[node].liveCount != members { return false }
        }
        return true
    }

    /// Sums of all nodes' counters.
    public func total(_ counter: KeyPath<MembershipCounters, UInt64>) -> UInt64 {
        var sum: UInt64 = 0
        for node in 0..<places.count { sum += machines[node].counters[keyPath: counter] }
        return sum
    }
}
