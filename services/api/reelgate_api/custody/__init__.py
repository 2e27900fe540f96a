"""The files of videos: given from the operator's bucket, or from Kie.ai while they are not there; deleted."""
