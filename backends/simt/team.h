/* The blocks that work on one row (row.h): how they meet. */
#ifndef TRINE_SIMT_TEAM_H
#define TRINE_SIMT_TEAM_H

namespace simt {

/* A block alone. A vendor's clusters of blocks have the same interface. */
struct lone_block {
    enum { most_blocks = 1 };
    static constexpr bool absent = false; /* on the device that is compiled for: a kernel for such teams is empty */
    static TRINE_DEVICE_METHOD int rank() { return 0; }
    static TRINE_DEVICE_METHOD int blocks() { return 1; }
    /* Once a kernel: begin() as early as may be, told how many bytes will be put into each block; started() before the first
     * put(). Once a turn: meet() when a block needs what was put into it. Blocks that meet in several turns, counted from 0, tell
     * begin() 2, and again() the bytes after each meeting; what is put in a turn may not lie where the turn before put it. */
    static TRINE_DEVICE_METHOD void begin(int, int = 1) {}
    static TRINE_DEVICE_METHOD void started() {}
    /* Writes `value` to block `to`'s copy of *slot. */
    template <class T> static TRINE_DEVICE_METHOD void put(T *slot, int, T value, int = 0) { *slot = value; }
    static TRINE_DEVICE_METHOD void meet(int = 0) { target::barrier(); }
    static TRINE_DEVICE_METHOD void again(int, int) {}
};

} // namespace simt

#endif
