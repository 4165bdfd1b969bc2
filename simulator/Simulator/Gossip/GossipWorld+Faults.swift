import EdgeCluster
import EdgeMemory
import EdgeTypes
import EdgeWire

extension GossipWorld {
    /// Numbers of control events: the scenario's faults, then the starts, then these.
    private var startNumber: Int { scenario.faults.count }
    private var lookNumber: Int { startNumber + scenario.nodes }

    static let lookIntervalNs: UInt64 = 250_000_000

    /// A node's machine before it is started.
    func make(
        _ node: Int, name: Int? = nil, versions: ProtocolRange = ProtocolRange(oldest: 1, newest: 2)
    ) -> Membership {
        places[node].starts += 1
        let start = UInt64(places[node].starts)
        let drawn = random.word(.crash, UInt64(node), start) << 32
        // The lower half tells the world who it is.
        let boot = drawn | (start << 16) | UInt64(node)
        places[node].boot = boot
        places[node].sealed = 0
        let record = MemberRecord(
            name: Text64("node-\(name ?? node)"), region: "cn-east",
            zone: Text64("zone-\(node % 3)"), boot: boot, address: Self.address(node),
            httpPort: 7_600, respPort: 7_601, adminPort: 7_603, versions: versions)
        return Membership(
            record, cluster: 0x636e, seed: random.word(.plan, UInt64(node), start),
            configuration: scenario.configuration)
    }

    static func node(of boot: BootID) -> Int { Int(boot & 0xffff) }
    static func start(of boot: BootID) -> UInt16 { UInt16(truncatingIfNeeded: boot >> 16) }

    func schedule() {
        for (index, fault) in scenario.faults.enumerated() {
            queue.push(timeNs: fault.atNs, payload: Self.controlMark | UInt32(index))
        }
        if scenario.startsWarm {
            warmUp()
        } else {
            for node in 0..<scenario.nodes {
                queue.push(
                    timeNs: UInt64(node) * scenario.startIntervalNs,
                    payload: Self.controlMark | UInt32(startNumber + node))
            }
        }
        for node in 0..<scenario.nodes where places[node].isPausing {
            let firstNs = Hash64.reduce(
                random.word(.faultTimes, UInt64(node)), below: 20_000_000_000)
            queue.push(
                timeNs: scenario.pausesFromNs + firstNs,
                payload: Self.resumeMark | UInt32(node))
        }
        queue.push(timeNs: 0, payload: Self.controlMark | UInt32(lookNumber))
    }

    /// Lets every node hear of all others, as from one exchange of state.
    private func warmUp() {
        var updates = PlainList<MembershipUpdate>(capacity: scenario.nodes)
        var records: [MemberRecord] = []
        for node in 0..<scenario.nodes {
            let record = machines[node].record(0)
            updates.append(
                MembershipUpdate(
                    state: .alive, boot: record.boot, incarnation: machines[node].incarnation,
                    record: Int32(node)))
            records.append(record)
        }
        for node in 0..<scenario.nodes {
            let teacher = node == 0 ? scenario.nodes - 1 : 0
            let state = GossipStreamMessage(
                kind: .state, cluster: 0x636e, sender: records[teacher].boot,
                incarnation: machines[teacher].incarnation, versions: records[teacher].versions)
            start(node)
            if scenario.nodes > 1 {
                machines[node].receive(
                    state, updates: updates, records: records, on: 0, from: Self.address(teacher),
                    nowNs: localNs(node), into: &effects)
            }
            // Nobody hears of that exchange.
            effects.removeAll()
            scheduleTick(node)
        }
    }

    private func start(_ node: Int) {
        places[node].isRunning = true
        places[node].isStopped = false
        places[node].tickNs = .max
        if scenario.seals { guards[node] = ReplayGuard() }
        for other in 0..<places.count { latest[node * places.count + other] = 0 }
        let seeds = (0..<min(3, scenario.nodes)).map(Self.address)
        machines[node].start(seeds: seeds, nowNs: localNs(node), into: &effects)
    }

    func control(_ number: Int) {
        if number == lookNumber {
            look()
            if nowNs + Self.lookIntervalNs <= scenario.durationNs {
                queue.push(
                    timeNs: nowNs + Self.lookIntervalNs,
                    payload: Self.controlMark | UInt32(number))
            }
        } else if number >= startNumber {
            start(number - startNumber)
            carryOut(number - startNumber)
        } else {
            lastFaultNs = nowNs
            report.agreedNs = nil
            happen(scenario.faults[number].fault)
        }
    }

    private func happen(_ fault: GossipFault) {
        switch fault {
        case .crash(let node):
            noteCrash(node)
            end(node)
        case .restart(let node):
            end(node)
            begin(node, make(node))
        case .leave(let node):
            machines[node].leave(nowNs: localNs(node), into: &effects)
            carryOut(node)
        case .pause(let node, let untilNs):
            places[node].pausedUntilNs = untilNs
            queue.push(timeNs: untilNs, payload: Self.resumeMark | UInt32(node))
        case .cut(let below):
            cutBelow = below
        case .deafen(let below):
            deafBelow = below
        case .heal:
            cutBelow = -1
            deafBelow = -1
            healedNs = nowNs
        case .impostor(let node, let of):
            begin(node, make(node, name: of))
        case .stranger(let node, let versions):
            begin(node, make(node, versions: versions))
        }
    }

    private func begin(_ node: Int, _ machine: consuming Membership) {
        machines[node] = machine
        start(node)
        carryOut(node)
    }

    private func end(_ node: Int) {
        places[node].isRunning = false
        places[node].pausedUntilNs = 0
        places[node].stalledUntilNs = 0
        for number in backlogs[node] { release(number) }
        backlogs[node].removeAll(keepingCapacity: true)
    }

    // MARK: Standing still

    /// A node comes back, or one of those that stand still in cycles does so again.
    func resume(_ node: Int) {
        guard places[node].isRunning else { return }
        if places[node].pausedUntilNs > nowNs || places[node].stalledUntilNs > nowNs { return }
        let wasPaused = places[node].pausedUntilNs == nowNs
        let wasStalled = places[node].stalledUntilNs == nowNs
        if !wasPaused && !wasStalled {
            stand(node)
            return
        }
        places[node].outgoing = 0
        // Threads wake in any order: timers first, or what has come in.
        let ticksFirst = wasPaused && nextWord(.faultTargets) & 1 == 0
        if ticksFirst { tickNow(node) }
        for number in backlogs[node] {
            take(packets[Int(number)])
            release(number)
        }
        backlogs[node].removeAll(keepingCapacity: true)
        if wasPaused && !ticksFirst { tickNow(node) }
        guard places[node].isPausing else { return }
        let runNs = scenario.runNs.sampleNs(nextWord(.faultTimes))
        queue.push(timeNs: nowNs + runNs, payload: Self.resumeMark | UInt32(node))
    }

    /// A node stops, or is cut off from its network card.
    private func stand(_ node: Int) {
        let untilNs = nowNs + scenario.pauseNs.sampleNs(nextWord(.faultTimes))
        if RandomSource.unit(nextWord(.faultTargets)) < scenario.stalls {
            places[node].stalledUntilNs = untilNs
        } else {
            places[node].pausedUntilNs = untilNs
        }
        queue.push(timeNs: untilNs, payload: Self.resumeMark | UInt32(node))
    }

    private func tickNow(_ node: Int) {
        machines[node].tick(nowNs: localNs(node), into: &effects)
        carryOut(node)
    }
}
