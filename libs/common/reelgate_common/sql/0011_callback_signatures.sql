-- Why: `reelgate doctor` tells whether the key for Kie.ai's signatures is the right one.
-- Old code keeps working.

ALTER TABLE callbacks
    ADD COLUMN signature text CHECK (signature IN ('good', 'bad', 'old', 'missing'));  -- NULL: not checked
