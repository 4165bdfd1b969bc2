extension LadderQueue {
    /// Fills the run, which is empty, with the first events.
    ///
    /// - Precondition: there are some.
    @usableFromInline @inline(never)
    mutating func refill() {
        while run.count < Self.runTarget {
            guard let index = buckets.lowest else { break }
            let bucket = buckets[index]
            let count = Int(bucket.count)
            if !run.isEmpty && run.count + count > Self.sortLimit { break }
            if bucket.minNs == bucket.maxNs {
                copy(index)
            } else if count > Self.sortLimit || !sort(index) {
                if !run.isEmpty { break }
                split(index)
            }
        }
        precondition(!run.isEmpty)
    }

    /// Appends a bucket to the run whose events are all of one instant.
    private mutating func copy(_ index: Int) {
        let bucket = buckets[index]
        let count = Int(bucket.count)
        // A herd's span is its instant: what comes later is not inserted behind it.
        runEndNs =
            count > Self.sortLimit
            ? bucket.minNs + 1 : Self.endNs(of: index, holding: bucket.minNs)
        run.reserve(count)
        var cursor = buckets.detach(index)
        while let event = buckets.take(&cursor) { run.append(event) }
    }

    /// Appends a bucket to the run in order, unless it is too uneven for that.
    ///
    /// Distributes by the leading bits in which the events differ, then sorts by insertion.
    ///
    /// - Returns: whether it did; if not, nothing has changed.
    private mutating func sort(_ index: Int) -> Bool {
        let bucket = buckets[index]
        let count = Int(bucket.count)
        let minNs = bucket.minNs
        let bits = 64 - (bucket.maxNs - minNs).leadingZeroBitCount
        let shift = UInt64(max(bits - Self.binBits, 0))
        if count > Self.binLimit {
            for bin in bins.indices { bins[bin] = 0 }
            var cursor = buckets.walk(index)
            while let event = buckets.next(&cursor) {
                bins[Int((event.timeNs &- minNs) >> shift)] &+= 1
            }
            var place: UInt32 = 0
            var largest: UInt32 = 0
            for bin in bins.indices {
                let size = bins[bin]
                largest = max(largest, size)
                bins[bin] = place
                place &+= size
            }
            if largest > Self.binLimit { return false }
        }
        runEndNs = Self.endNs(of: index, holding: minNs)
        run.reserve(count)
        var cursor = buckets.detach(index)
        if count > Self.binLimit {
            while let event = buckets.take(&cursor) {
                let bin = Int((event.timeNs &- minNs) >> shift)
                run.set(event, beyond: Int(bins[bin]))
                bins[bin] &+= 1
            }
        } else {
            var place = 0
            while let event = buckets.take(&cursor) {
                run.set(event, beyond: place)
                place += 1
            }
        }
        run.extend(by: count)
        return true
    }

    /// Moves the first bucket's events to lower levels, the highest being that where they differ.
    private mutating func split(_ index: Int) {
        let bucket = buckets[index]
        let differing = bucket.minNs ^ bucket.maxNs
        let level = (63 - differing.leadingZeroBitCount) >> 3
        let common = ~UInt64(0) << UInt64((level + 1) << 3)
        // Other buckets' events differ from both origins in the same digit: it is this bucket's or
        // a higher one, and above it the origins are the same.
        originNs = bucket.minNs & common
        var cursor = buckets.detach(index)
        while let event = buckets.take(&cursor) { file(event) }
    }

    /// Gives the later part of a long run back to the buckets, where an event is to be inserted
    /// that does not belong to its end.
    mutating func cutRun(before timeNs: UInt64) {
        let pivotNs = run[Self.insertLimit / 2].timeNs
        var kept = 0
        if run[0].timeNs < pivotNs {
            kept = pivotNs == 0 ? 0 : run.position(after: pivotNs - 1)
            runEndNs = pivotNs
        } else if timeNs < pivotNs {
            runEndNs = pivotNs
        } else {
            // The instant that goes on now stays as it is.
            kept = run.position(after: pivotNs)
            runEndNs = pivotNs + 1
        }
        for index in kept..<run.count { file(run[index]) }
        run.truncate(to: kept)
    }

    /// Where the span of a bucket ends that holds an event of the given time.
    private static func endNs(of index: Int, holding timeNs: UInt64) -> UInt64 {
        let level = UInt64(index >> EventBuckets.digitBits)
        let lastNs = timeNs | ((1 << (level << 3)) - 1)
        return lastNs == .max ? .max : lastNs + 1
    }
}
