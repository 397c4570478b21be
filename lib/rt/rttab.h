/* rttab.h - the extern operators there are; RT(name): fxrt_name. */
RT(sort)
RT(nonzero)
